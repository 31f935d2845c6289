"""Reading the conversations that wait in the queue or are worked on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from redis.asyncio import Redis

from platolm.runs import conversation_id
from services.orchestrator.queue.answers import QueuedConversation, QueuedDetail

KeyOf = Callable[..., str]


async def queued_page(
    redis: Redis, key: KeyOf, run_id: str, *, after: str, limit: int
) -> tuple[list[QueuedConversation], str | None]:
    """Up to `limit` conversations whose stream entry comes after `after`, and the last entry's id where more follow."""
    start = f"({after}" if after else "-"
    entries = cast(
        "list[tuple[str, dict[str, str]]]", await redis.xrange(key("stream", run_id), min=start, count=limit)
    )
    ids = [conversation_id(run_id, int(fields["index"])) for _, fields in entries]
    async with redis.pipeline(transaction=False) as pipe:
        for cid in ids:
            pipe.hmget(key("conversation", cid), ["index", "token", "attempts", "worker"])
            pipe.llen(key("turns", cid))
        answers = await pipe.execute()
    found = [
        QueuedConversation(cid, int(index), _state(token), num_turns, int(attempts or 0), worker)
        for cid, (index, token, attempts, worker), num_turns in zip(ids, answers[::2], answers[1::2], strict=True)
        if index is not None
    ]
    return found, entries[-1][0] if len(entries) == limit else None


async def queued_detail(redis: Redis, key: KeyOf, cid: str) -> QueuedDetail | None:
    """A consistent reading of one conversation."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.hgetall(key("conversation", cid))
        pipe.lrange(key("turns", cid), 0, -1)
        fields, turns = await pipe.execute()
    if "run" not in fields:
        return None
    return QueuedDetail(
        run_id=fields["run"],
        index=int(fields["index"]),
        state=_state(fields.get("token")),
        attempts=int(fields.get("attempts", 0)),
        seed=fields["seed"],
        turns=turns,
    )


def _state(token: str | None) -> Literal["queued", "in_flight"]:
    return "in_flight" if token else "queued"
