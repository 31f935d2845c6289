"""Base and both demo adapters on one engine say what base and adapter on two engines say, to the last id."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass

import pytest

from benchmarks.cores import share_cores
from benchmarks.shared_engine import Outcome, Work, measure, outcome_of, pair_of
from benchmarks.sharing import (
    NAMES,
    Dialogue,
    Pair,
    Resources,
    Size,
    dialogues,
    on_one_engine,
    on_two_engines,
    share_identical,
)
from platolm.seeds import OPENINGS_FILE, read_seeds
from platolm.spec import SeedMode
from platolm.stack.adapters import BASE_NAME
from platolm.tokenizer import load_tokenizer

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

ALONE, TOGETHER = 6, 64


@dataclass(frozen=True)
class Outcomes:
    """Of one engine and of two, which live one after the other; `base` is said by the base on the one, for both."""

    one: Outcome
    base: list[Dialogue]
    two: Outcome


@pytest.fixture(scope="module")
def outcomes(need_vllm_and_peft: None, tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    pair, folder = pair_of(), tmp_path_factory.mktemp("engines")
    given = Resources(share_cores(sorted(os.sched_getaffinity(0))), folder, dtype="float32")
    openings = [seed.question or "" for seed in read_seeds(OPENINGS_FILE, SeedMode.QUESTION).seeds[:TOGETHER]]
    work = Work(load_tokenizer(pair.base), openings, Size(utterances=4, max_tokens=16), ALONE, TOGETHER)
    one, base = asyncio.run(of_one_engine(pair, given, work))
    return Outcomes(one, base, asyncio.run(measure(on_two_engines, pair, given, work)))


async def of_one_engine(pair: Pair, given: Resources, work: Work) -> tuple[Outcome, list[Dialogue]]:
    async with on_one_engine(pair, given) as served:
        nobodys = dict.fromkeys(NAMES, BASE_NAME)
        base, _ = await dialogues(served, work.tokenizer, work.openings[:ALONE], work.size, 1, nobodys)
        return await outcome_of(served, work), base


def test_one_dialogue_at_a_time_is_identical(outcomes: Outcomes) -> None:
    assert len(outcomes.one.alone) == ALONE
    assert outcomes.one.alone == outcomes.two.alone
    assert len({str(dialogue) for dialogue in outcomes.one.alone}) == ALONE, "the openings make a difference"
    assert share_identical(outcomes.one.alone, outcomes.base) < 1, "the adapters make a difference"


def test_with_many_in_flight_nearly_all_are_identical(outcomes: Outcomes) -> None:
    """A batch's size decides in which order a sum is made, so that only most of them have to agree."""
    assert len(outcomes.one.together) == len(outcomes.two.together) == TOGETHER
    same = share_identical(outcomes.one.together, outcomes.two.together)
    print(f"identical with {TOGETHER} in flight: {same:.3f}")
    assert same >= 0.9


def test_one_engine_holds_less_than_two(outcomes: Outcomes) -> None:
    assert outcomes.one.memory_mib < outcomes.two.memory_mib
    one, two = outcomes.one.cache, outcomes.two.cache
    assert abs(one.num_tokens - two.num_tokens) <= one.block_tokens, "the same amount, rounded down by each engine"
