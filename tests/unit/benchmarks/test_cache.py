"""What the cache benchmark does around its runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.cache import FLOORS, Hits, Killer, Variant, as_result, first_of_each_role
from benchmarks.cores import share_cores
from benchmarks.counters import Counters
from benchmarks.engines import Served
from benchmarks.full_stack import Shape
from benchmarks.pairs import Bench
from platolm.conversation import ASSISTANT, USER


class Victim:
    """An engine that counts how often it is killed."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.kills = 0

    async def kill(self) -> None:
        self.kills += 1


@pytest.fixture
def engines() -> list[Victim]:
    return [Victim(role) for role in (USER, ASSISTANT) * 3]


async def test_one_respondent_is_killed_once_when_enough_is_said(engines: list[Victim]) -> None:
    killer = Killer(engines, at_utterances=50)  # type: ignore[arg-type]
    for said in (0, 49):
        await killer.look({"utterances": said})
    assert (killer.killed_at, [engine.kills for engine in engines]) == (None, [0] * 6)
    for said in (53, 60):
        await killer.look({"utterances": said})
    assert (killer.killed_at, [engine.kills for engine in engines]) == (53, [0, 0, 0, 0, 0, 1])


def test_one_replica_a_side_is_the_first_of_each(engines: list[Victim]) -> None:
    assert first_of_each_role(engines) == engines[:2]  # type: ignore[arg-type, comparison-overlap]


def test_a_result_is_hits_against_the_bound(tmp_path: Path) -> None:
    bench = Bench(Served({}), share_cores([0, 1]), Shape(60, 14, 48, 1024), 24, tmp_path)
    counters = Counters(cache_queries=2100, cache_hits=1030)
    result = as_result(Hits(Variant.KILLED, counters, 1000, recorded_prompt_tokens=2000, killed_at=421), bench)
    assert (result.figure, result.floor, result.is_reached) == (0.93, FLOORS[Variant.KILLED], True)
    assert result.details["asked twice, tokens"] == 100
    assert result.details["killed after utterances"] == 421
    assert result.details["conversations"] == 60


def test_a_killed_engines_last_requests_may_be_uncounted() -> None:
    hits = Hits(Variant.KILLED, Counters(cache_queries=1990, cache_hits=900), 1000, recorded_prompt_tokens=2000)
    assert (hits.asked_twice, hits.ratio) == (0, 0.9)
