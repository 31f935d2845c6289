"""A Redis whose memory is full in the middle of a run: everything waits, and goes on when it has room again."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from redis.asyncio import Redis

from services.orchestrator.queue import Outcome, Queue, RedisRefusesError
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.queueing import LEASE_MS, append, claim, finish, make_run, progress_of
from tests.integration.orchestrator.small_stack import SmallStack, Workers, repeats
from tests.redis_server import RedisServer

CONVERSATIONS = 60
REFUSALS = 3


def times(log: Path, text: str) -> int:
    return log.read_text().count(text)


def test_a_run_waits_for_memory_and_loses_nothing(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 0.1
    worker = workers.start([simulator], [respondent])
    run_id = stack.submit(CONVERSATIONS)
    stack.wait_utterances(run_id, 40)
    with redis.Redis.from_url(stack.redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            wait_until(lambda: times(worker.log, "maxmemory") >= REFUSALS, what="refusals", log=worker.log)
            refused = stack.api.submit({"spec": {"conversations": 1}})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert "its memory is full (maxmemory): give it more" in refused.json()["detail"]
        finally:
            client.config_set("maxmemory", 0)
    stack.check_completed(run_id)
    assert times(worker.log, "lease_lost") == 0, "a full Redis costs nobody its claims"
    assert repeats(simulator, respondent) == 0


@pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)
async def test_what_is_finished_leaves_a_full_redis(queue: Queue, redis_server: RedisServer) -> None:
    """Leases last, conversations end and are written: it empties itself, where there is something to end."""
    await make_run(queue, conversations=2)
    ending, going_on = await claim(queue, 2)
    assert (await append(queue, ending, 0)).outcome is Outcome.OK
    async with Redis.from_url(redis_server.url) as client:
        await client.config_set("maxmemory", 1)
        with pytest.raises(RedisRefusesError, match="its memory is full"):
            await append(queue, going_on, 0)
        with pytest.raises(RedisRefusesError, match="its memory is full"):
            await queue.register("w2", lease_ms=LEASE_MS)
        held = await queue.renew("w1", lease_ms=LEASE_MS)
        assert set(held) == {ending.conversation_id, going_on.conversation_id}
        assert await queue.reclaim("w1", lease_ms=LEASE_MS) == 0
        assert await finish(queue, ending, 1) is Outcome.OK
        await queue.commit("run-a", committed=1, indices=[ending.index])
        await client.config_set("maxmemory", 0)
    progress = await progress_of(queue)
    assert (progress.committed, progress.finished, progress.in_flight) == (1, 1, 1)
    assert (await append(queue, going_on, 0)).outcome is Outcome.OK, "as if nothing had been"
