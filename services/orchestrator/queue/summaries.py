"""Runs in one line each, read from Redis together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from redis.asyncio import Redis

from platolm.conversation import TerminationReason
from services.orchestrator.queue.progress import ENDED
from services.orchestrator.queue.realism import REALISM_FIELDS, realism_of

KeyOf = Callable[..., str]

_TEXTS = ("state", "pause_by", "pause_reason", "created_at")
_COUNTS = {
    "conversations": "total",
    "fed": "cursor",
    "in_flight": "claimed",
    "finished": "finished",
    "committed": "committed",
    "cancelled": "cancelled",
    "utterances": "utterances",
    "generated_tokens": "generated_tokens",
}
_ENDINGS = {reason.value: ENDED + reason.value for reason in TerminationReason}
_FIELDS = (*_TEXTS, *_COUNTS.values(), *_ENDINGS.values(), *REALISM_FIELDS)


async def run_summaries(redis: Redis, key: KeyOf, run_ids: Sequence[str]) -> list[dict[str, Any]]:
    """The runs among these that exist, in the order asked for. Specs are not read: they are as long as people like."""
    if not run_ids:
        return []
    async with redis.pipeline(transaction=True) as pipe:
        for run_id in run_ids:
            pipe.hmget(key("run", run_id), _FIELDS)
            pipe.hlen(key("dead", run_id))
        answers = await pipe.execute()
    rows = zip(run_ids, answers[::2], answers[1::2], strict=True)
    return [
        _summary(run_id, dict(zip(_FIELDS, values, strict=True)), dead)
        for run_id, values, dead in rows
        if values[0] is not None
    ]


def _summary(run_id: str, fields: Mapping[str, str | None], dead: int) -> dict[str, Any]:
    counts = {name: max(0, int(fields[field] or 0)) for name, field in _COUNTS.items()}
    by = fields["pause_by"]
    return {
        "id": run_id,
        "state": fields["state"],
        "pause": {"by": by, "reason": fields["pause_reason"] or ""} if by else None,
        **counts,
        "dead": dead,
        "terminations": {reason: int(count) for reason, field in _ENDINGS.items() if (count := fields[field])},
        "realism": realism.model_dump() if (realism := realism_of(fields)) else None,
        "created_at": float(fields["created_at"] or 0),
    }
