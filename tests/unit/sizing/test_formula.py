"""The formula: what it gives where the answer is known by hand, and how it moves."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.sizing.formula import Side, replicas_for, throughput
from platolm.sizing.load import Dialogue, SideLoad
from tests.unit.sizing.curves import curve

LOAD = SideLoad(utterances=2, generated=40, prompt=200, prefilled=100, reserved=250)
"""An utterance generates 20 tokens and reads 50: at one request 20 · 0.01 + 50 · 0.0001 = 0.205 s."""


def sides(replicas: int = 1, load: SideLoad = LOAD, **fields: object) -> dict[str, Side]:
    return {role: Side(curve(**fields), load, replicas) for role in (USER, ASSISTANT)}


def test_one_conversation_alone_takes_the_sum_of_its_utterances() -> None:
    found = throughput(sides(), max_in_flight=1, orchestrator_s=0.0)
    assert found.conversation_s == pytest.approx(4 * 0.205)
    assert found.in_flight == pytest.approx(1)
    assert found.limit == "the conversations in flight"


def test_what_the_orchestrator_takes_counts_for_each_utterance() -> None:
    found = throughput(sides(), max_in_flight=1, orchestrator_s=0.1)
    assert found.conversation_s == pytest.approx(4 * 0.305)


def test_a_side_completes_at_most_what_its_best_batch_does() -> None:
    # At 60: 20 · 0.06 + 60 · 0.005 = 1.5 s for 60 requests; at 10: 0.2 + 0.05 = 0.25 s for 10, as many a second.
    running, rate = Side(curve(), LOAD, 1).best()
    assert rate == pytest.approx(40)
    assert running in (10, 60)
    found = throughput(sides(), orchestrator_s=0.0)
    assert found.conversations_per_s == pytest.approx(20)
    assert found.busy[USER] == pytest.approx(1)


def test_the_slower_side_limits_and_is_named() -> None:
    both = sides() | {ASSISTANT: Side(curve(), LOAD, 3)}
    found = throughput(both)
    assert found.limit == "the simulator's engines"
    assert found.busy[ASSISTANT] == pytest.approx(1 / 3)


def test_kv_caches_bound_what_is_in_flight() -> None:
    found = throughput(sides(kv_tokens=1000), orchestrator_s=0.0)
    assert found.limit == "the simulator's KV caches"
    assert found.in_flight == pytest.approx(4)
    assert found.conversations_per_s == pytest.approx(4 / found.conversation_s)


def test_an_engine_too_small_for_a_conversation_takes_one() -> None:
    assert throughput(sides(kv_tokens=100), orchestrator_s=0.0).in_flight == pytest.approx(1)


def test_time_that_others_take_from_an_engine_is_a_requests() -> None:
    stolen = {role: replace(side, stolen_s=0.005) for role, side in sides().items()}
    found = throughput(stolen, max_in_flight=1, orchestrator_s=0.0)
    assert found.conversation_s == pytest.approx(4 * 0.210)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 500), st.integers(1, 20), st.floats(0, 1))
def test_more_of_anything_is_never_slower_and_littles_law_holds(in_flight: int, replicas: int, hits: float) -> None:
    loads = Dialogue(3, 20, 60, hit_share=hits).loads({USER: 16, ASSISTANT: 16})

    def rate(number: int, engines: int) -> float:
        made = {role: Side(curve(), load, engines) for role, load in loads.items()}
        found = throughput(made, max_in_flight=number)
        assert found.in_flight <= number + 1e-6
        running = sum(found.running[role] * engines for role in made)
        waiting = found.conversations_per_s * 6 * 0.03
        assert found.in_flight == pytest.approx(running + waiting)
        return found.conversations_per_s

    assert rate(in_flight, replicas) <= rate(in_flight + 1, replicas) * (1 + 1e-6)
    assert rate(in_flight, replicas) <= rate(in_flight, replicas + 1) * (1 + 1e-6)


@settings(deadline=None, max_examples=30)
@given(st.floats(0.1, 5000), st.floats(1, 200), st.floats(1, 200))
def test_the_replicas_found_reach_what_was_wanted_and_one_less_does_not(
    wanted: float, said: float, told: float
) -> None:
    loads = Dialogue(3, said, told).loads({USER: 16, ASSISTANT: 16})

    def side_of(role: str, count: int) -> Side:
        return Side(curve(), loads[role], count)

    counts = replicas_for(wanted, side_of)

    def reached(**fewer: int) -> float:
        made = {role: side_of(role, counts[role] - fewer.get(role, 0)) for role in (USER, ASSISTANT)}
        return throughput(made).conversations_per_s

    assert reached() >= wanted * (1 - 1e-6)
    assert all(reached(**{role: 1}) < wanted for role in counts if counts[role] > 1)


def test_too_few_in_flight_is_told() -> None:
    with pytest.raises(InputError, match="in flight"):
        replicas_for(1000.0, lambda role, count: Side(curve(), LOAD, count), max_in_flight=3)
