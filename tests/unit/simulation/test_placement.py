"""Where policies put a conversation. That least reserved is the orchestrator's is tested against its scripts."""

from __future__ import annotations

from collections import Counter

import numpy as np

from simulation import placement

ALL = np.ones(10, np.bool_)


def test_the_least_reserved_with_room_is_taken_the_first_of_equals() -> None:
    reserved = np.array([50, 20, 20, 0])
    budget = np.array([100, 100, 100, 5])
    alive = np.ones(4, np.bool_)
    assert placement.least_reserved(reserved, budget, alive, 40) == 3, "an empty one takes any"
    alive[3] = False
    assert placement.least_reserved(reserved, budget, alive, 40) == 1
    assert placement.least_reserved(reserved, budget, alive, 81) == -1
    assert placement.least_reserved(reserved, np.array([100, 100, 0, 5]), alive, 81) == 2, (
        "nothing is known of its room"
    )
    assert placement.fewest_reserved(reserved, alive) == 1


def test_a_hash_spreads_and_moves_only_what_has_to_move() -> None:
    before = [placement.by_hash(ALL, talk) for talk in range(2000)]
    counts = Counter(before)
    assert len(counts) == 10
    assert max(counts.values()) < 1.4 * min(counts.values())
    alive = ALL.copy()
    alive[4] = False
    after = [placement.by_hash(alive, talk) for talk in range(2000)]
    assert [now for was, now in zip(before, after, strict=True) if was != 4] == [was for was in before if was != 4]
    assert 4 not in after


def test_turns_pass_over_the_dead() -> None:
    alive = ALL.copy()
    alive[[1, 2]] = False
    last = np.array([-1])
    assert [placement.by_turns(alive, last) for _ in range(9)] == [0, 3, 4, 5, 6, 7, 8, 9, 0]
    assert placement.by_turns(np.zeros(3, np.bool_), last) == -1


def test_of_two_the_one_with_fewer_requests() -> None:
    requests = np.arange(10)
    draw = np.array([7])
    counts = Counter(placement.of_two(ALL, requests, draw) for _ in range(2000))
    assert counts[0] > 3 * counts[8]
    assert placement.of_two(np.zeros(10, np.bool_), requests, draw) == -1
