"""Calls on the queue as tests make them, with what hardly matters filled in."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.runs import RunProgress
from platolm.spec import RunSpec
from services.orchestrator.queue import Claim, Offer, Outcome, Queue, Written
from tests.redis_server import RedisServer

LEASE_MS = 60_000
USER_URL, ASSISTANT_URL = "http://user-0/v1", "http://assistant-0/v1"

Offers = dict[str, dict[str, list[Offer]]]


def offers(user: dict[str, int] | None = None, assistant: dict[str, int] | None = None) -> Offers:
    """Replicas of both default pools with their budgets in tokens; by default one of each, unbounded."""
    sides = {USER: user or {USER_URL: 0}, ASSISTANT: assistant or {ASSISTANT_URL: 0}}
    return {role: {"": [Offer(url, budget) for url, budget in urls.items()]} for role, urls in sides.items()}


async def make_run(queue: Queue, run_id: str = "run-a", conversations: int = 4, **fields: Any) -> None:
    """A run with all its conversations fed; `fields` are the spec's."""
    spec = RunSpec(conversations=conversations, **fields)
    holder = await queue.create_run(
        run_id, spec, idempotency_key=f"key of {run_id}", digest="d", created_at=time.time(), warnings=[]
    )
    assert holder == (run_id, "d")
    await queue.feed(run_id, cursor=0, seeds=["{}"] * conversations, window=1000, max_finished=1000)


async def claim(queue: Queue, count: int, worker: str = "w1", offered: Offers | None = None) -> list[Claim]:
    await queue.register(worker, lease_ms=LEASE_MS)
    return (await queue.claim(worker, count=count, offers=offered or offers())).claims


async def claim_one(queue: Queue, worker: str = "w1", offered: Offers | None = None) -> Claim:
    [claimed] = await claim(queue, 1, worker, offered)
    return claimed


async def append(queue: Queue, owned: Claim, expected: int, turn: str = "t", generated_tokens: int = 3) -> Written:
    return await queue.append(
        owned.conversation_id,
        owned.token,
        index=owned.index,
        expected=expected,
        turn=turn,
        generated_tokens=generated_tokens,
    )


async def finish(queue: Queue, owned: Claim, expected: int, *, record: str = "{}", tokens: int = 10) -> Outcome:
    written = await queue.finish(
        owned.conversation_id,
        owned.token,
        expected=expected,
        record=record,
        reason=TerminationReason.CONTEXT_FULL,
        held_tokens=tokens,
    )
    return written.outcome


async def progress_of(queue: Queue, run_id: str = "run-a") -> RunProgress:
    progress = await queue.progress(run_id)
    assert progress is not None
    return progress


async def keys_left(redis_server: RedisServer) -> list[str]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        return sorted([key.removeprefix("platolm:") async for key in redis.scan_iter()])
