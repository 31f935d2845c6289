"""The queue's scripts on a real Redis: fences, order, loss, and what they refuse."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from platolm.conversation import TerminationReason
from platolm.runs import RunSpec, RunState, conversation_id
from services.orchestrator.queue import Claim, LeaseLostError, Outcome, Queue
from tests.redis_server import RedisServer

LEASE_MS = 60_000

pytestmark = pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)


async def make_run(queue: Queue, run_id: str = "run-a", conversations: int = 4, *, max_attempts: int = 2) -> None:
    spec = RunSpec(conversations=conversations, max_attempts=max_attempts)
    holder = await queue.create_run(
        run_id, spec, idempotency_key=f"key of {run_id}", digest="d", created_at=time.time(), warnings=[]
    )
    assert holder == (run_id, "d")
    await queue.feed(run_id, cursor=0, seeds=["{}"] * conversations, window=1000, max_finished=1000)


async def claim_one(queue: Queue, worker: str = "w1") -> Claim:
    await queue.register(worker, lease_ms=LEASE_MS)
    [claim] = await queue.claim(worker, count=1)
    return claim


async def append(queue: Queue, claim: Claim, expected: int, turn: str = "t", token: str | None = None) -> Outcome:
    written = await queue.append(
        claim.conversation_id, token or claim.token, expected=expected, turn=turn, generated_tokens=3, event="{}"
    )
    return written.outcome


async def finish(queue: Queue, claim: Claim, expected: int) -> Outcome:
    written = await queue.finish(
        claim.conversation_id, claim.token, expected=expected, record="{}", reason=TerminationReason.CONTEXT_FULL
    )
    return written.outcome


async def test_an_idempotency_key_makes_one_run(queue: Queue) -> None:
    await make_run(queue)
    again = await queue.create_run(
        "run-b", RunSpec(conversations=1), idempotency_key="key of run-a", digest="e", created_at=0.0, warnings=[]
    )
    assert again == ("run-a", "d")
    assert await queue.run_ids() == ["run-a"]


async def test_feeding_twice_from_one_cursor_feeds_once(queue: Queue) -> None:
    await make_run(queue, conversations=3)
    assert await queue.feed("run-a", cursor=0, seeds=["{}"] * 3, window=10, max_finished=10) == 3
    assert await queue.waiting("run-a") == 3


async def test_feeding_stops_at_the_window_and_when_records_pile_up(queue: Queue) -> None:
    spec = RunSpec(conversations=10)
    await queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=0.0, warnings=[])
    assert await queue.feed("run-a", cursor=0, seeds=["{}"] * 10, window=4, max_finished=1) == 4
    claim = await claim_one(queue)
    assert await finish(queue, claim, 0) is Outcome.OK
    assert await queue.feed("run-a", cursor=4, seeds=["{}"] * 6, window=100, max_finished=1) == 4


async def test_runs_are_served_in_turn(queue: Queue) -> None:
    await make_run(queue, "run-big", conversations=50)
    await make_run(queue, "run-small", conversations=2)
    await queue.register("w1", lease_ms=LEASE_MS)
    claims = await queue.claim("w1", count=4)
    assert sorted(claim.run_id for claim in claims) == ["run-big", "run-big", "run-small", "run-small"]


async def test_claims_give_what_was_recorded(queue: Queue) -> None:
    await make_run(queue)
    claim = await claim_one(queue)
    assert (claim.index, claim.turns, claim.seed) == (0, [], "{}")
    assert await append(queue, claim, 0, "one") is Outcome.OK
    assert await append(queue, claim, 1, "two") is Outcome.OK
    assert await queue.release(claim.conversation_id, claim.token)
    again = await claim_one(queue, "w2")
    assert (again.conversation_id, again.turns) == (claim.conversation_id, ["one", "two"])
    assert again.token != claim.token


async def test_an_append_whose_answer_was_lost_is_recorded_once(queue: Queue) -> None:
    await make_run(queue)
    claim = await claim_one(queue)
    assert await append(queue, claim, 0, "one") is Outcome.OK
    assert await append(queue, claim, 0, "one") is Outcome.OK
    assert await append(queue, claim, 0, "another") is Outcome.STALE
    progress = await queue.progress("run-a")
    assert progress is not None
    assert (progress.utterances, progress.generated_tokens) == (1, 3)


async def test_a_stale_owner_writes_nothing(queue: Queue) -> None:
    await make_run(queue)
    old = await claim_one(queue)
    await queue.release(old.conversation_id, old.token)
    new = await claim_one(queue, "w2")
    assert await append(queue, old, 0) is Outcome.STALE
    assert await finish(queue, old, 0) is Outcome.STALE
    assert await queue.fail(old.conversation_id, old.token, "late") is Outcome.STALE
    assert not await queue.release(old.conversation_id, old.token)
    assert await append(queue, new, 0) is Outcome.OK


async def test_redis_that_came_back_older_says_how_much_it_has(queue: Queue) -> None:
    await make_run(queue)
    claim = await claim_one(queue)
    await append(queue, claim, 0)
    written = await queue.append(
        claim.conversation_id, claim.token, expected=3, turn="t", generated_tokens=1, event="{}"
    )
    assert (written.outcome, written.length) == (Outcome.SHORT, 1)
    assert await finish(queue, claim, 3) is Outcome.SHORT


async def test_finishing_leaves_only_the_record(queue: Queue, redis_server: RedisServer) -> None:
    await make_run(queue, conversations=1)
    claim = await claim_one(queue)
    await append(queue, claim, 0)
    assert await finish(queue, claim, 1) is Outcome.OK
    assert await finish(queue, claim, 1) is Outcome.GONE
    assert await queue.finished_records("run-a", limit=10) == {0: "{}"}
    assert await queue.commit("run-a", committed=1, indices=[0]) is RunState.COMPLETED
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        left = sorted([key async for key in redis.scan_iter()])
    assert left == ["platolm:idempotency:key of run-a", "platolm:run:run-a", "platolm:runs", "platolm:worker:w1:lease",
                    "platolm:workers"]  # fmt: skip


async def test_after_its_attempts_a_conversation_is_dead_and_the_run_can_complete(queue: Queue) -> None:
    await make_run(queue, conversations=1, max_attempts=2)
    first = await claim_one(queue)
    assert await queue.fail(first.conversation_id, first.token, "boom") is Outcome.REQUEUED
    second = await claim_one(queue)
    assert await queue.fail(second.conversation_id, second.token, "boom again") is Outcome.DEAD
    [letter] = await queue.dead_conversations("run-a")
    assert (letter.id, letter.attempts, letter.error) == (conversation_id("run-a", 0), 2, "boom again")
    progress = await queue.progress("run-a")
    assert progress is not None
    assert (progress.state, progress.dead) == (RunState.COMPLETED, 1)


async def test_an_utterance_in_between_forgives_failures(queue: Queue) -> None:
    await make_run(queue, conversations=1, max_attempts=2)
    for position in range(4):
        claim = await claim_one(queue)
        assert await append(queue, claim, position) is Outcome.OK
        assert await queue.fail(claim.conversation_id, claim.token, "boom") is Outcome.REQUEUED


async def test_a_dead_workers_claims_are_handed_out_again(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    await queue.register("dying", lease_ms=50)
    claims = await queue.claim("dying", count=2)
    await append(queue, claims[0], 0, "said before")
    await queue.register("alive", lease_ms=500)
    freed = 0
    deadline = time.monotonic() + 10
    while not freed and time.monotonic() < deadline:
        freed = await queue.reclaim("alive", lease_ms=500)
    assert freed == 2
    with pytest.raises(LeaseLostError):
        await queue.renew("dying", lease_ms=LEASE_MS)
    with pytest.raises(LeaseLostError):
        await queue.claim("dying", count=1)
    await queue.renew("alive", lease_ms=LEASE_MS)
    again = {claim.index: claim.turns for claim in await queue.claim("alive", count=5)}
    assert again == {0: ["said before"], 1: []}


async def test_a_restarted_redis_reclaims_nothing_within_a_lease(queue: Queue, redis_server: RedisServer) -> None:
    await make_run(queue)
    await queue.register("w1", lease_ms=1)
    [claim] = await _claim_before_expiry(queue)
    redis_server.stop()
    redis_server.start()
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        revived = Queue(redis)
        assert await revived.reclaim("w2", lease_ms=LEASE_MS) == 0
        assert await revived.renew("w1", lease_ms=LEASE_MS) == {claim.conversation_id: claim.token}


async def _claim_before_expiry(queue: Queue) -> list[Claim]:
    await queue.register("w1", lease_ms=LEASE_MS)
    claims = await queue.claim("w1", count=1)
    await queue.register("w1", lease_ms=1)
    return claims


async def test_heartbeats_show_what_redis_holds(queue: Queue) -> None:
    await make_run(queue)
    claim = await claim_one(queue)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {claim.conversation_id: claim.token}
    await finish(queue, claim, 0)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {}


async def test_progress_counts(queue: Queue) -> None:
    await make_run(queue, conversations=5)
    claim = await claim_one(queue)
    await claim_one(queue)
    await finish(queue, claim, 0)
    progress = await queue.progress("run-a")
    assert progress is not None
    assert (progress.fed, progress.in_flight, progress.finished, progress.committed) == (5, 1, 1, 0)
    assert progress.terminations == {TerminationReason.CONTEXT_FULL: 1}
    assert await queue.progress("run-unknown") is None


async def test_a_worker_that_leaves_leaves_no_claim_behind(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    await queue.register("w1", lease_ms=LEASE_MS)
    await queue.claim("w1", count=2)
    await queue.unregister("w1")
    await queue.register("w2", lease_ms=LEASE_MS)
    assert sorted(claim.index for claim in await queue.claim("w2", count=5)) == [0, 1]
    progress = await queue.progress("run-a")
    assert progress is not None
    assert progress.in_flight == 2


async def test_a_starved_worker_does_not_reclaim_itself(queue: Queue) -> None:
    await make_run(queue)
    [claim] = await _claim_before_expiry(queue)
    await asyncio.sleep(1.1)  # beyond the lease, and beyond Redis's first second
    assert await queue.reclaim("w1", lease_ms=1000) == 0
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {claim.conversation_id: claim.token}
