"""The simulation places conversations as the scripts do: both are asked the same questions, in a real Redis."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER
from services.orchestrator.queue import Queue
from simulation import placement
from simulation.loop import SMOOTHING
from tests.integration.orchestrator.queueing import claim, claim_one, finish, make_run, offers
from tests.redis_server import RedisServer

REPLICAS, CASES = 7, 60


def urls(side: str) -> list[str]:
    return [f"http://{side}-{number}:8000/v1" for number in range(REPLICAS)]


async def test_claims_take_the_replica_that_the_model_takes(queue: Queue, redis_server: RedisServer) -> None:
    chance = random.Random(5)
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        for case in range(CASES):
            await redis.flushdb()
            await make_run(queue, conversations=1, endings={"context_tokens": 100})
            tokens = {
                side: [chance.choice([0, 40, 80, 120, 160]) for _ in range(REPLICAS)] for side in (USER, ASSISTANT)
            }
            budgets = {side: chance.choices([0, 90, 150, 220, 250], k=REPLICAS) for side in tokens}
            offered = {side: [chance.random() < 0.7 for _ in range(REPLICAS)] for side in tokens}
            for side, of_side in tokens.items():
                found: dict[Any, Any] = {url: number for url, number in zip(urls(side), of_side, strict=True) if number}
                if found:
                    await redis.hset(queue.key("reserved"), mapping=found)
            pools = {
                side: {url: budgets[side][i] for i, url in enumerate(urls(side)) if offered[side][i]} for side in tokens
            }
            if not all(pools.values()):
                continue
            expected = {
                side: placement.least_reserved(
                    np.array(tokens[side]), np.array(budgets[side]), np.array(offered[side]), 100
                )
                for side in tokens
            }
            claims = await claim(queue, 1, offered=offers(pools[USER], pools[ASSISTANT]))
            if min(expected.values()) < 0:
                assert claims == [], f"case {case}: nothing has room"
            else:
                taken = {side: urls(side).index(claims[0].placed[side]) for side in tokens}
                assert taken == expected, f"case {case}"


async def test_a_conversation_under_way_goes_where_the_model_sends_it(queue: Queue, redis_server: RedisServer) -> None:
    chance = random.Random(6)
    await make_run(queue, conversations=1, endings={"context_tokens": 100})
    [owned] = await claim(queue, 1, offered=offers(dict.fromkeys(urls(USER), 0), dict.fromkeys(urls(ASSISTANT), 0)))
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        for _ in range(CASES):
            reserved = chance.choices([0, 500, 700, 900], k=REPLICAS)
            usable = [chance.random() < 0.6 for _ in range(REPLICAS)]
            await redis.delete(queue.key("reserved"))
            await redis.hset(queue.key("reserved"), mapping=dict(zip(urls(USER), reserved, strict=True)))
            asked = [url for url, may in zip(urls(USER), usable, strict=True) if may]
            if asked:
                expected = placement.fewest_reserved(np.array(reserved), np.array(usable))
                found = await queue.place(owned.conversation_id, owned.token, USER, asked)
                assert found == urls(USER)[expected]


async def test_what_the_next_conversations_reserve_follows_those_that_ended(queue: Queue) -> None:
    """The model's smoothing is finish.lua's."""
    await make_run(queue, conversations=40, endings={"context_tokens": 1000})
    chance, expected = random.Random(7), 1000
    for _ in range(30):
        owned = await claim_one(queue)
        held = chance.randint(1, 2000)
        assert set((await queue.reserved()).values()) == {expected}
        await finish(queue, owned, 0, tokens=held)
        expected = max(1, int(np.ceil(expected + (held - expected) / SMOOTHING)))
