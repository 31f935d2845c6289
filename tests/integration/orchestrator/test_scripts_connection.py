"""Scripts over one connection of a real Redis: batches, cancelled callers, forgotten scripts, a killed server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from services.orchestrator.queue import REDIS_AWAY, redis_patiently
from services.orchestrator.queue.connection import Scripts
from tests.redis_server import RedisServer

SOURCES = {
    "echo": "return ARGV[1]",
    "count": "return redis.call('INCR', ARGV[1])",
    "fail": "return redis.error_reply('refused for a reason')",
    "sleepy": """
        local function now() local t = redis.call('TIME') return t[1] * 1000 + t[2] / 1000 end
        local ends = now() + tonumber(ARGV[1])
        redis.replicate_commands()
        while now() < ends do end
        return redis.call('INCR', 'slept')
    """,
}
FOREVER_MS = 60_000


class Counting(Redis):
    """Notes how many commands each round trip carries."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.batches: list[int] = []

    def pipeline(self, *args: Any, **kwargs: Any) -> Any:
        pipe = super().pipeline(*args, **kwargs)
        execute = pipe.execute

        async def execute_and_note(*args: Any, **kwargs: Any) -> Any:
            self.batches.append(len(pipe.command_stack))
            return await execute(*args, **kwargs)

        pipe.execute = execute_and_note  # type: ignore[method-assign]
        return pipe


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Counting]:
    async with Counting(port=redis_server.port, decode_responses=True) as client:
        yield client


@pytest.fixture
async def scripts(redis: Counting) -> AsyncIterator[Scripts]:
    """Loaded, on a connection that stands."""
    loaded = Scripts(redis, SOURCES)
    await loaded.call("echo", "warm")
    redis.batches.clear()
    yield loaded
    await loaded.close()


async def echoes(scripts: Scripts, *values: str) -> list[Any]:
    return await asyncio.gather(*(scripts.call("echo", value) for value in values), return_exceptions=True)


async def test_calls_that_arrive_together_travel_together(scripts: Scripts, redis: Counting) -> None:
    values = [str(i) for i in range(100)]
    assert await echoes(scripts, *values) == values
    assert redis.batches == [100]


async def test_what_comes_while_a_batch_is_on_its_way_forms_the_next(scripts: Scripts, redis: Counting) -> None:
    first = asyncio.create_task(scripts.call("sleepy", 100))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    later = [asyncio.create_task(scripts.call("echo", str(i))) for i in range(20)]
    assert await asyncio.gather(first, *later) == [1, *(str(i) for i in range(20))]
    assert redis.batches == [1, 20]


async def test_a_call_alone_waits_for_nobody(scripts: Scripts, redis: Counting) -> None:
    assert [await scripts.call("echo", str(i)) for i in range(3)] == ["0", "1", "2"]
    assert redis.batches == [1, 1, 1]


async def test_a_batch_has_a_limit(scripts: Scripts, redis: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.queue.connection.MAX_BATCH", 8)
    values = [str(i) for i in range(20)]
    assert await echoes(scripts, *values) == values
    assert redis.batches == [8, 8, 4]


async def test_an_error_is_its_callers_alone(scripts: Scripts, redis: Counting) -> None:
    answers = await asyncio.gather(
        scripts.call("echo", "a"), scripts.call("fail"), scripts.call("echo", "b"), return_exceptions=True
    )
    assert [answers[0], answers[2]] == ["a", "b"]
    assert isinstance(answers[1], ResponseError)
    assert "refused for a reason" in str(answers[1])
    assert redis.batches == [3]


async def test_forgotten_scripts_are_loaded_again_and_run_once(scripts: Scripts, redis: Counting) -> None:
    await redis.script_flush()
    answers = await asyncio.gather(*(scripts.call("count", "counter") for _ in range(10)))
    assert sorted(answers) == list(range(1, 11))
    assert redis.batches == [10, 10]
    assert await scripts.call("echo", "all of them") == "all of them"
    assert redis.batches == [10, 10, 1]


async def test_only_what_was_forgotten_is_run_again(scripts: Scripts, redis: Counting) -> None:
    """One script is known, the other is not: the first must not run twice."""
    await redis.script_flush()
    await redis.script_load(SOURCES["count"])
    answers = await asyncio.gather(
        scripts.call("count", "counter"), scripts.call("echo", "a"), scripts.call("count", "counter")
    )
    assert list(answers) == [1, "a", 2]
    assert redis.batches == [3, 1]
    assert await redis.get("counter") == "2"


async def test_a_cancelled_caller_leaves_the_connection_as_it_was(scripts: Scripts, redis: Counting) -> None:
    """Its call still runs; the others get their own answers, not the one that was left behind."""
    left = asyncio.create_task(scripts.call("sleepy", 200))
    beside = asyncio.create_task(scripts.call("echo", "beside"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await redis_patiently(lambda: scripts.call("echo", "after")) == "after"
    assert await beside == "beside"
    assert redis.batches == [2, 1]
    assert await redis.get("slept") == "1"


async def test_a_caller_that_is_cancelled_before_its_call_is_sent(scripts: Scripts, redis: Counting) -> None:
    left = asyncio.create_task(scripts.call("count", "counter"))
    await asyncio.sleep(0)
    left.cancel()
    with pytest.raises(asyncio.CancelledError):
        await left
    assert await scripts.call("count", "counter") == 2
    assert await echoes(scripts, "a", "b") == ["a", "b"]


async def test_closing_waits_for_what_is_on_its_way(scripts: Scripts, redis: Counting) -> None:
    left = asyncio.create_task(scripts.call("sleepy", 100))
    await asyncio.sleep(0)
    await scripts.close()
    assert left.done()
    assert await redis.get("slept") == "1"


async def test_everyone_who_waits_hears_that_redis_was_killed(
    scripts: Scripts, redis: Counting, redis_server: RedisServer
) -> None:
    async def waits_for_it(script: str, argument: object) -> bool:
        with pytest.raises(REDIS_AWAY):
            await scripts.call(script, argument)
        return True

    first = asyncio.create_task(waits_for_it("sleepy", FOREVER_MS))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    others = [asyncio.create_task(waits_for_it("echo", i)) for i in range(20)]
    await asyncio.sleep(0)
    redis_server.kill()
    assert await asyncio.gather(first, *others) == [True] * 21
    redis_server.start()
    assert await scripts.call("echo", "back") == "back"
    assert await echoes(scripts, "a", "b") == ["a", "b"]


async def test_a_patient_caller_outlasts_a_restart(scripts: Scripts, redis_server: RedisServer) -> None:
    redis_server.kill()
    started = time.monotonic()
    calls = [asyncio.create_task(redis_patiently(lambda: scripts.call("count", "counter"))) for _ in range(10)]
    with pytest.raises(REDIS_AWAY):
        await scripts.call("echo", "impatient")
    assert not any(call.done() for call in calls)
    redis_server.start()
    assert sorted(await asyncio.gather(*calls)) == list(range(1, 11))
    assert time.monotonic() - started < 60


async def test_patience_is_for_an_absence_and_not_for_a_refusal(scripts: Scripts, redis: Counting) -> None:
    with pytest.raises(ResponseError, match="refused"):
        await redis_patiently(lambda: scripts.call("fail"))
    assert redis.batches == [1]
