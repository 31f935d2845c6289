"""Claims in the queue, on a real Redis: order, fairness, placement, leases."""

from __future__ import annotations

import asyncio
import time

import pytest
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER
from services.orchestrator.queue import Claim, LeaseLostError, Outcome, Queue
from tests.integration.orchestrator.queueing import (
    ASSISTANT_URL,
    LEASE_MS,
    USER_URL,
    append,
    claim,
    claim_one,
    finish,
    make_run,
    offers,
    progress_of,
)
from tests.redis_server import RedisServer

pytestmark = pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)


async def test_runs_are_served_in_turn(queue: Queue) -> None:
    await make_run(queue, "run-big", conversations=50)
    await make_run(queue, "run-small", conversations=2)
    claims = await claim(queue, 4)
    assert sorted(owned.run_id for owned in claims) == ["run-big", "run-big", "run-small", "run-small"]


async def test_the_run_with_the_fewest_in_flight_comes_first(queue: Queue) -> None:
    await make_run(queue, "run-big", conversations=50)
    await claim(queue, 5)
    await make_run(queue, "run-new", conversations=50)
    assert [owned.run_id for owned in await claim(queue, 5, "w2")] == ["run-new"] * 5


async def test_a_run_takes_no_more_than_its_limit_in_flight(queue: Queue) -> None:
    await make_run(queue, conversations=9, limits={"in_flight": 3})
    owned = await claim(queue, 9)
    assert len(owned) == 3
    assert await claim(queue, 9, "w2") == []
    await finish(queue, owned[0], 0)
    assert len(await claim(queue, 9, "w2")) == 1


async def test_claims_give_what_was_recorded(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert (owned.index, owned.turns, owned.seed) == (0, [], "{}")
    assert owned.placed == {USER: USER_URL, ASSISTANT: ASSISTANT_URL}
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 1, "two")).outcome is Outcome.OK
    assert await queue.release(owned.conversation_id, owned.token)
    again = await claim_one(queue, "w2")
    assert (again.conversation_id, again.turns) == (owned.conversation_id, ["one", "two"])
    assert again.token != owned.token


async def test_runs_whose_replicas_were_not_offered_are_named(queue: Queue) -> None:
    endpoint = "http://10.0.0.5:8000/v1"
    await make_run(queue, "run-own", simulator={"profile": "socratic", "endpoints": [endpoint]})
    await make_run(queue, "run-default")
    await queue.register("w1", lease_ms=LEASE_MS)
    claimed = await queue.claim("w1", count=9, offers=offers())
    assert {owned.run_id for owned in claimed.claims} == {"run-default"}
    assert claimed.unknown_runs == ["run-own"]
    offered = offers()
    offered[USER][endpoint] = offers({endpoint: 0})[USER][""]
    claimed = await queue.claim("w1", count=9, offers=offered)
    assert [owned.placed[USER] for owned in claimed.claims] == [endpoint] * 4
    assert claimed.unknown_runs == []


async def test_conversations_go_where_the_fewest_tokens_are_reserved(queue: Queue) -> None:
    await make_run(queue, conversations=6, endings={"context_tokens": 100})
    claims = await claim(queue, 6, offered=offers({"u0": 0, "u1": 0, "u2": 0}))
    assert sorted(owned.placed[USER] for owned in claims) == ["u0", "u0", "u1", "u1", "u2", "u2"]
    assert await queue.reserved() == {"u0": 200, "u1": 200, "u2": 200, ASSISTANT_URL: 600}
    for owned in claims:
        assert await finish(queue, owned, 0) is Outcome.OK
    assert await queue.reserved() == {}


async def test_a_full_replica_takes_none_and_an_empty_one_takes_any(queue: Queue) -> None:
    await make_run(queue, conversations=9, endings={"context_tokens": 100})
    assert len(await claim(queue, 9, offered=offers({"u0": 250, "u1": 50}))) == 3
    assert await queue.reserved() == {"u0": 200, "u1": 100, ASSISTANT_URL: 300}


async def test_an_engine_for_both_sides_takes_both_sides_need(queue: Queue) -> None:
    await make_run(queue, conversations=9, endings={"context_tokens": 100})
    both = {"both": 500}
    assert len(await claim(queue, 9, offered=offers(both, both))) == 2
    assert await queue.reserved() == {"both": 400}


async def test_a_conversation_goes_back_to_its_replica(queue: Queue) -> None:
    await make_run(queue, conversations=4, endings={"context_tokens": 100})
    offered = offers({"u0": 0, "u1": 0})
    claims = await claim(queue, 4, offered=offered)
    stayed = next(owned for owned in claims if owned.placed[USER] == "u1")
    by_replica = sorted(claims, key=lambda owned: owned.placed[USER])
    for owned in by_replica:  # so that choosing by reserved tokens alone would spread them differently
        await queue.release(owned.conversation_id, owned.token)
    again = {owned.index: owned.placed[USER] for owned in await claim(queue, 4, "w2", offered)}
    assert again == {owned.index: owned.placed[USER] for owned in claims}
    for owned in await claim(queue, 9, "w2", offered):
        await queue.release(owned.conversation_id, owned.token)
    await queue.unregister("w2")
    moved = {owned.index: owned.placed[USER] for owned in await claim(queue, 4, "w3", offers({"u0": 0}))}
    assert moved[stayed.index] == "u0", "its own replica is gone"


async def test_a_lost_replicas_conversation_moves_with_its_reservation(queue: Queue) -> None:
    await make_run(queue, conversations=3, endings={"context_tokens": 100})
    claims = await claim(queue, 3, offered=offers({"u0": 0, "u1": 0}))
    moving = next(owned for owned in claims if owned.placed[USER] == "u0")
    assert await queue.place(moving.conversation_id, moving.token, USER, ["u1", "u2"]) == "u2"
    assert await queue.place(moving.conversation_id, "another token", USER, ["u1"]) is None
    assert await queue.place(moving.conversation_id, moving.token, USER, []) is None
    assert await queue.reserved() == {"u0": 100, "u1": 100, "u2": 100, ASSISTANT_URL: 300}
    for owned in claims:
        await finish(queue, owned, 0)
    assert await queue.reserved() == {}


async def test_what_is_reserved_follows_what_conversations_need(queue: Queue) -> None:
    await make_run(queue, conversations=200, endings={"context_tokens": 1600})
    for _ in range(100):
        await finish(queue, await claim_one(queue), 0, tokens=160)
    await claim_one(queue)
    reserved = await queue.reserved()
    assert 160 <= reserved[USER_URL] <= 180


async def reclaimed(queue: Queue, worker: str, *, lease_ms: int) -> int:
    """What `worker` frees as soon as Redis has been up for a lease and something is to be freed."""
    deadline = time.monotonic() + 10
    while not (freed := await queue.reclaim(worker, lease_ms=lease_ms)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return freed


async def test_a_dead_workers_claims_are_handed_out_again(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    claims = await claim(queue, 2, "dying")
    await append(queue, claims[0], 0, "said before")
    await queue.register("dying", lease_ms=1)
    await queue.register("alive", lease_ms=500)
    assert await reclaimed(queue, "alive", lease_ms=500) == 2
    assert await queue.reserved() == {}
    assert await queue.workers() == 1
    with pytest.raises(LeaseLostError):
        await queue.renew("dying", lease_ms=LEASE_MS)
    with pytest.raises(LeaseLostError):
        await queue.claim("dying", count=1, offers=offers())
    again = {owned.index: owned.turns for owned in await claim(queue, 5, "alive")}
    assert again == {0: ["said before"], 1: []}


async def test_a_conversation_whose_workers_die_is_dead_after_its_attempts(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"attempts": 2})
    for freed_so_far in range(2):
        await claim_one(queue, f"dying-{freed_so_far}")
        await queue.register(f"dying-{freed_so_far}", lease_ms=1)
        await queue.register("alive", lease_ms=500)
        assert await reclaimed(queue, "alive", lease_ms=500) == 1
    [letter] = await queue.dead_conversations("run-a")
    assert (letter.attempts, letter.error) == (2, "its worker died")


async def test_a_restarted_redis_reclaims_nothing_within_a_lease(queue: Queue, redis_server: RedisServer) -> None:
    await make_run(queue)
    owned = await _claim_before_expiry(queue)
    redis_server.stop()
    redis_server.start()
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        revived = Queue(redis)
        assert await revived.reclaim("w2", lease_ms=LEASE_MS) == 0
        assert await revived.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}


async def _claim_before_expiry(queue: Queue) -> Claim:
    owned = await claim_one(queue)
    await queue.register("w1", lease_ms=1)
    return owned


async def test_heartbeats_show_what_redis_holds(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}
    await finish(queue, owned, 0)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {}


async def test_a_worker_that_leaves_leaves_no_claim_behind(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    await claim(queue, 2)
    await queue.unregister("w1")
    assert await queue.reserved() == {}
    assert sorted(owned.index for owned in await claim(queue, 5, "w2")) == [0, 1]
    assert (await progress_of(queue)).in_flight == 2


async def test_a_starved_worker_does_not_reclaim_itself(queue: Queue) -> None:
    await make_run(queue)
    owned = await _claim_before_expiry(queue)
    await asyncio.sleep(1.1)  # beyond the lease, and beyond Redis's first second
    assert await queue.reclaim("w1", lease_ms=1000) == 0
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}
