"""People watch conversations that workers carry: token by token, and without a trace in the dataset."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from platolm.runs import conversation_id
from platolm.spec import sampling_seed
from services.orchestrator.conversations.watching import LOOK_EVERY_S
from tests.fakes.engine import FakeEngine
from tests.fakes.faults import Fault
from tests.integration.orchestrator.api.event_streams import Event, listening, until
from tests.integration.orchestrator.small_stack import MAX_TURNS, SmallStack, Workers

TOKEN_S = 0.01
CACHED_TOKENS = 17


@pytest.fixture
def simulator(byte_tokenizer_folder: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(byte_tokenizer_folder, "socratic", token_latency_s=TOKEN_S, cached_tokens=CACHED_TOKENS)
    with engine.running():
        yield engine


@pytest.fixture
def respondent(byte_tokenizer_folder: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(byte_tokenizer_folder, "platolm", token_latency_s=TOKEN_S, cached_tokens=CACHED_TOKENS)
    with engine.running():
        yield engine


@pytest.fixture
async def client(stack: SmallStack) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stack.api.url, timeout=60) as client:
        yield client


def seeds_of(stack: SmallStack, run_id: str, index: int) -> set[int]:
    """The sampling seeds of a conversation's utterances."""
    seed = stack.api.run(run_id)["spec"]["seed"]
    return {sampling_seed(seed, index, turn) for turn in range(MAX_TURNS)}


def events_of(run_id: str, index: int) -> str:
    return f"/v1/conversations/{conversation_id(run_id, index)}/events"


def streamed(*engines: FakeEngine) -> list[int]:
    return [seed for engine in engines for seed in engine.streamed_seeds]


async def test_a_watched_conversation_is_seen_in_the_making_and_recorded_as_if_it_were_not(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, client: httpx.AsyncClient
) -> None:
    run_id = stack.submit(4)
    async with listening(client, events_of(run_id, 1)) as events:
        assert (await anext(events))[1]["state"] == "queued"
        await asyncio.to_thread(workers.start, [simulator], [respondent])
        seen: list[Event] = [event async for event in events]
    records = await asyncio.to_thread(stack.check_completed, run_id)
    turns = records[1]["conversations"]
    assert {turn["num_cached_tokens"] for record in records for turn in record["turns"]} == {CACHED_TOKENS}
    assert [content["content"] for name, content in seen if name == "turn"] == [turn["value"] for turn in turns]
    assert [name for name, _ in seen][-2:] == ["ended", "conversation"]
    assert seen[-1][1]["record"] == records[1]
    texts = texts_by_turn(seen)
    assert set(streamed(simulator, respondent)) <= seeds_of(stack, run_id, 1)
    assert len(texts) == len(streamed(simulator, respondent)) >= MAX_TURNS - 1
    for turn_index, shown in texts.items():
        assert shown == sorted(set(shown), key=len)
        assert all(turns[turn_index]["value"].startswith(text) for text in shown)


def texts_by_turn(events: list[Event]) -> dict[int, list[str]]:
    """What was shown of each utterance, which came before its turn."""
    texts: defaultdict[int, list[str]] = defaultdict(list)
    complete = 0
    for name, content in events:
        if name == "turn":
            complete = content["turn_index"] + 1
        elif name == "partial":
            assert content["turn_index"] >= complete
            texts[content["turn_index"]].append(content["text"])
    return dict(texts)


async def test_streams_that_are_cut_are_asked_for_again(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, client: httpx.AsyncClient
) -> None:
    run_id = stack.submit(1)
    async with listening(client, events_of(run_id, 0)) as events:
        await asyncio.to_thread(workers.start, [simulator], [respondent])
        await until(events, "partial")
        for engine in (simulator, respondent):
            engine.faults.extend([Fault.RESET, Fault.ABORTED, Fault.TRUNCATED])
        assert (await until(events, "ended"))["termination_reason"] == "turn_limit"
    await asyncio.to_thread(stack.check_completed, run_id)
    assert len(streamed(simulator, respondent)) >= MAX_TURNS - 1 + 6
    assert not simulator.faults
    assert not respondent.faults


async def test_watching_begins_and_ends_in_the_middle(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, client: httpx.AsyncClient
) -> None:
    run_id = stack.submit(1, endings={"max_turns": 24, "context_tokens": 8192})
    simulator.max_model_len = respondent.max_model_len = 8192
    await asyncio.to_thread(workers.start, [simulator], [respondent])
    await asyncio.to_thread(stack.wait_utterances, run_id, 3)
    assert streamed(simulator, respondent) == []
    async with listening(client, events_of(run_id, 0)) as events:
        before = len((await until(events, "conversation"))["turns"])
        assert (await until(events, "partial"))["turn_index"] >= before >= 3
    await asyncio.to_thread(stack.wait, run_id, lambda run: run["committed"] == 1, "the end")
    [record] = stack.records(run_id)
    assert len(record["turns"]) == 24


async def test_workers_ask_as_often_whatever_they_carry(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    run_id = stack.submit(64)
    await asyncio.to_thread(workers.start, [simulator], [respondent])
    async with Redis.from_url(stack.redis.url, decode_responses=True) as redis:

        async def calls(command: str) -> int:
            stats = (await redis.info("commandstats")).get(f"cmdstat_{command}", {"calls": 0})
            return int(stats["calls"])

        before, started = await calls("zrangebyscore"), time.monotonic()
        await asyncio.to_thread(stack.check_completed, run_id)
        looks, took_s = await calls("zrangebyscore") - before, time.monotonic() - started
        numbers: list[Any] = await redis.keys("*watched*")
    assert (took_s - 2) / LOOK_EVERY_S <= looks <= took_s / LOOK_EVERY_S + 1
    assert numbers == []
    assert streamed(simulator, respondent) == []
