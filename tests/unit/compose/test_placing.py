"""Engines on GPUs: in turn, alone or together, with their parts of the memory."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.compose.placing import PlacedEngine, parse_gpus, place_engines
from platolm.errors import InputError


def places(engines: list[PlacedEngine]) -> list[tuple[str, str, float]]:
    return [(engine.service, engine.gpu, engine.memory) for engine in engines]


def test_each_engine_has_a_gpu_of_its_own() -> None:
    assert places(place_engines(2, 1)) == [
        ("simulator-0", "0", 0.9),
        ("simulator-1", "1", 0.9),
        ("respondent-0", "2", 0.9),
    ]


def test_the_gpus_that_are_named_are_taken_in_their_order() -> None:
    engines = place_engines(1, 1, ["7", "GPU-3a", "0"], memory=0.5)
    assert places(engines) == [("simulator-0", "7", 0.5), ("respondent-0", "GPU-3a", 0.5)]


def test_shared_gpus_hold_a_pair_each() -> None:
    assert places(place_engines(2, 2, share=True)) == [
        ("simulator-0", "0", 0.45),
        ("simulator-1", "1", 0.45),
        ("respondent-0", "0", 0.45),
        ("respondent-1", "1", 0.45),
    ]


def test_a_gpu_is_shared_by_as_many_as_it_takes() -> None:
    assert places(place_engines(1, 3, ["4", "5"], share=True)) == [
        ("simulator-0", "4", 0.45),
        ("respondent-0", "5", 0.45),
        ("respondent-1", "4", 0.45),
        ("respondent-2", "5", 0.45),
    ]
    assert {engine.memory for engine in place_engines(1, 3, ["4"], share=True)} == {0.22}


def test_more_engines_than_gpus_need_to_be_told_to_share() -> None:
    with pytest.raises(InputError, match=r"^4 engines, but --gpus names 2: name one for each, or .* --share$"):
        place_engines(2, 2, ["0", "1"])


@given(
    simulators=st.integers(1, 6),
    respondents=st.integers(1, 6),
    cards=st.integers(1, 6),
    memory=st.floats(0.1, 1.0),
)
def test_no_gpu_is_asked_for_more_than_its_part(simulators: int, respondents: int, cards: int, memory: float) -> None:
    engines = place_engines(simulators, respondents, [str(n) for n in range(cards)], share=True, memory=memory)
    loads = [[engine.memory for engine in engines if engine.gpu == str(card)] for card in range(cards)]
    assert max(map(len, loads)) - min(map(len, loads)) <= 1
    assert all(sum(load) <= memory + 1e-9 for load in loads)


def test_names_of_gpus() -> None:
    assert parse_gpus("0, 10,GPU-1f2e-aa,MIG-GPU-1f/1/0") == ["0", "10", "GPU-1f2e-aa", "MIG-GPU-1f/1/0"]


@pytest.mark.parametrize(("text", "said"), [("0,,1", "'' is no GPU"), ("all", "'all' is no GPU"), ("-1", "'-1' is no")])
def test_what_is_no_gpu(text: str, said: str) -> None:
    with pytest.raises(InputError, match=re.escape(said)):
        parse_gpus(text)


def test_a_gpu_is_named_once() -> None:
    with pytest.raises(InputError, match="GPU 1 is named twice"):
        parse_gpus("1,0,1")
