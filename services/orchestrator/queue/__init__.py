"""The queue on Redis: every key and every script in one place."""

from services.orchestrator.queue.answers import (
    Claim,
    Claimed,
    LeaseLostError,
    Offer,
    Outcome,
    QueuedConversation,
    QueuedDetail,
    Written,
)
from services.orchestrator.queue.client import check_redis, open_redis
from services.orchestrator.queue.outages import REDIS_AWAY, RedisRefusesError, redis_patiently
from services.orchestrator.queue.queue import Queue
from services.orchestrator.queue.realism import RealismReport

__all__ = [
    "REDIS_AWAY",
    "Claim",
    "Claimed",
    "LeaseLostError",
    "Offer",
    "Outcome",
    "Queue",
    "QueuedConversation",
    "QueuedDetail",
    "RealismReport",
    "RedisRefusesError",
    "Written",
    "check_redis",
    "open_redis",
    "redis_patiently",
]
