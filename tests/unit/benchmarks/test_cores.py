"""Which cores do what."""

from __future__ import annotations

import os
from collections.abc import Sequence

import pytest

from benchmarks.cores import Cores, engine_threads, pinned_to, share_cores
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError


@pytest.mark.parametrize(
    ("cores", "expected"),
    [
        ([4], ({4}, {4}, {4})),
        ([0, 1], ({0}, {1}, {0, 1})),
        ([0, 1, 2], ({0}, {1}, {2})),
        ([0, 1, 2, 3], ({0}, {1}, {2, 3})),
        (range(7), ({0, 1}, {2, 3}, {4, 5, 6})),
        (range(16), (set(range(7)), set(range(7, 14)), {14, 15})),
    ],
)
def test_engines_share_evenly_and_leave_two_cores(cores: Sequence[int], expected: tuple[set[int], ...]) -> None:
    shared = share_cores(cores)
    assert tuple(map(set, (shared.simulator, shared.respondent, shared.client))) == expected


def test_each_role_has_its_engine() -> None:
    cores = share_cores([0, 1])
    assert [set(cores.of_engine(role)) for role in (USER, ASSISTANT)] == [{0}, {1}]


def test_cores_say_how_they_are_used() -> None:
    cores = Cores(frozenset({0}), frozenset({1}), frozenset({1, 0}))
    assert str(cores) == "simulator on core 0; respondent on core 1; everything else on cores 0, 1"


def test_an_engine_of_several_cores_leaves_one() -> None:
    assert [engine_threads(frozenset(range(n))) for n in (1, 2, 7)] == [1, 1, 6]


def test_pinning_ends_with_its_block() -> None:
    before = os.sched_getaffinity(0)
    one = frozenset([min(before)])
    with pytest.raises(InputError, match="inside"), pinned_to(one):
        fail_where(os.sched_getaffinity(0) == one)
    assert os.sched_getaffinity(0) == before


def fail_where(pinned: bool) -> None:
    raise InputError("inside" if pinned else "not pinned")
