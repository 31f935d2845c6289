"""When Redis is away, or there and takes no writes: what tells so, and waiting until that is over."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

logger = structlog.get_logger(__name__)

T = TypeVar("T")

FULL, DEMOTED = "OOM", "READONLY"

_REFUSALS = {
    FULL: "its memory is full (maxmemory): give it more, or wait until the writer has emptied it",
    "MISCONF": "it cannot save to its disk: make room there, or see its log",
    "NOREPLICAS": "too few of its replicas keep up (min-replicas-to-write): bring them back",
    DEMOTED: "it is a replica now: its new master is looked for",
    "MASTERDOWN": "it is a replica that has lost its master",
    "BUSY": "it is busy with somebody's script: see its SLOWLOG",
}
"""Why Redis may refuse a write for a while, by the word that its answer begins with, and what to do."""

# Within a script Redis 6.2 puts the word into its middle: "... @user_script: 12: -OOM command not allowed ...".
_REFUSAL = re.compile(rf"(?:^|-)({'|'.join(_REFUSALS)})\b")


class RedisRefusesError(RedisError):
    """Redis answers and takes no writes for now; a script that was refused so has changed nothing.

    `word` is what Redis calls it (`OOM`).
    """

    def __init__(self, word: str, said: str) -> None:
        super().__init__(f"Redis takes no writes: {_REFUSALS[word]} ({said})")
        self.word = word


REDIS_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ConnectionError,
    RedisRefusesError,
    OutOfMemoryError,
    ReadOnlyError,
)
"""What is raised while Redis restarts, is cut off or takes no writes: every script may be sent again, its token makes
that safe."""

_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0


def refusal_of(error: BaseException) -> RedisRefusesError | None:
    """An answer of Redis as a refusal that passes, or None."""
    if not isinstance(error, RedisError) or isinstance(error, RedisRefusesError):
        return error if isinstance(error, RedisRefusesError) else None
    said = str(error)
    word = "OOM" if isinstance(error, OutOfMemoryError) else "READONLY" if isinstance(error, ReadOnlyError) else None
    if word is None and (found := _REFUSAL.search(said)):
        word = found[1]
    return RedisRefusesError(word, said) if word else None


async def redis_patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat one queue call for as long as Redis is away."""
    attempt = 0
    while True:
        try:
            return await call()
        except REDIS_AWAY as error:
            logger.warning("redis_away", error=str(error), attempt=attempt)
            await asyncio.sleep(random.uniform(0.5, 1.0) * min(_LONGEST_RETRY_S, _FIRST_RETRY_S * 2**attempt))
            attempt = min(attempt + 1, 8)
