"""The API's metrics of runs and workers, from a real Redis that a real queue filled."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from redis.asyncio import Redis

from platolm.runs import PausedBy, RunState
from platolm.spec import Limits, Retries, RunSpec
from services.orchestrator.metrics.api import ApiMetrics
from services.orchestrator.metrics.survey import RunCounts, Survey, take_survey
from services.orchestrator.queue import Outcome, Queue
from tests.integration.orchestrator.queueing import (
    ASSISTANT_URL,
    USER_URL,
    append,
    claim,
    claim_one,
    finish,
    make_run,
)
from tests.redis_server import RedisServer

UNTOUCHED = RunCounts(
    state=RunState.RUNNING,
    num_unfed=0,
    num_fed=4,
    num_queued=4,
    num_in_flight=0,
    num_finished=0,
    num_committed=0,
    num_dead=0,
    num_utterances=0,
    generated_tokens=0,
)


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        yield redis


async def survey(redis: Redis, queue: Queue) -> Survey:
    return await take_survey(redis, queue.key)


async def test_an_empty_redis(redis: Redis, queue: Queue) -> None:
    assert await survey(redis, queue) == Survey({}, {}, 0, {})


async def test_each_conversation_is_counted_where_it_is(redis: Redis, queue: Queue) -> None:
    await make_run(queue, conversations=8, retries=Retries(attempts=1), limits=Limits(dead=None))
    dead, committed, finished, spoken, silent = await claim(queue, 5)
    assert await queue.fail(dead.conversation_id, dead.token, "made to fail") is Outcome.DEAD
    assert await finish(queue, committed, 0) is Outcome.OK
    await queue.commit("run-a", committed=1, indices=[committed.index])
    assert await finish(queue, finished, 0) is Outcome.OK
    await append(queue, spoken, 0, generated_tokens=30)
    await append(queue, spoken, 1, generated_tokens=12)
    found = await survey(redis, queue)
    assert found.open_runs == {
        "run-a": replace(
            UNTOUCHED,
            num_fed=8,
            num_queued=3,
            num_in_flight=2,
            num_finished=1,
            num_committed=1,
            num_dead=1,
            num_utterances=2,
            generated_tokens=42,
        )
    }
    assert found.num_workers == 1
    reservation = found.reserved_tokens[USER_URL]
    assert reservation > 0
    assert dict(found.reserved_tokens) == {USER_URL: reservation, ASSISTANT_URL: reservation}
    await queue.release(spoken.conversation_id, spoken.token)
    await queue.release(silent.conversation_id, silent.token)
    assert (await survey(redis, queue)).open_runs["run-a"].num_queued == 5
    assert (await survey(redis, queue)).reserved_tokens == {}


async def test_the_backlog_reaches_beyond_the_queue(redis: Redis, queue: Queue) -> None:
    spec = RunSpec(conversations=10_000, limits=Limits(in_flight=300))
    await queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=0.0, warnings=[])
    await queue.feed("run-a", cursor=0, seeds=["{}"] * 64, window=16, max_finished=10)
    await claim_one(queue)
    found = await survey(redis, queue)
    assert (found.queue_depth, found.backlog) == (15, 299)
    await queue.pause("run-a", PausedBy.USER, "by hand")
    assert (await survey(redis, queue)).backlog == 0


async def test_runs_by_state_and_only_open_ones_by_name(redis: Redis, queue: Queue) -> None:
    await make_run(queue, "run-d", conversations=1)
    assert await finish(queue, await claim_one(queue), 0) is Outcome.OK
    assert await queue.commit("run-d", committed=1, indices=[0]) is RunState.COMPLETED
    for run_id in ("run-a", "run-b", "run-c"):
        await make_run(queue, run_id)
    await queue.cancel("run-b")
    await queue.pause("run-c", PausedBy.USER, "by hand")
    found = await survey(redis, queue)
    assert dict(found.runs_by_state) == {
        RunState.RUNNING: 1,
        RunState.PAUSED: 1,
        RunState.CANCELLED: 1,
        RunState.COMPLETED: 1,
    }
    assert dict(found.open_runs) == {"run-a": UNTOUCHED, "run-c": replace(UNTOUCHED, state=RunState.PAUSED)}


async def test_many_runs_take_three_round_trips(redis: Redis, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(30):
        await make_run(queue, f"run-{number:02d}", conversations=1)
        if number % 2:
            await queue.cancel(f"run-{number:02d}")
    sent = 0
    pipeline = redis.pipeline

    def counted(*, transaction: bool) -> object:
        nonlocal sent
        sent += 1
        return pipeline(transaction=transaction)

    monkeypatch.setattr(redis, "pipeline", counted)
    found = await survey(redis, queue)
    assert dict(found.runs_by_state) == {RunState.RUNNING: 15, RunState.CANCELLED: 15}
    assert sent == 3


async def test_metrics_come_back_with_redis(
    redis: Redis, queue: Queue, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.metrics.api.SURVEY_AGE_S", 0.0)
    await make_run(queue)
    metrics = ApiMetrics()
    metrics.watch(redis, queue)
    assert b'platolm_run_conversations{run="run-a",state="queued"} 4.0' in await metrics.exposition()
    redis_server.stop()
    away = await metrics.exposition()
    assert b"platolm_redis_up 0.0" in away
    assert b"run-a" not in away
    redis_server.start()
    assert b'platolm_run_conversations{run="run-a",state="queued"} 4.0' in await metrics.exposition()
