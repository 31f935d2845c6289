"""Scripts on one Redis: calls that arrive together travel together, and none is ever cancelled half-way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, TypeVar

import structlog
from redis.asyncio import Connection, Redis, SSLConnection
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import BusyLoadingError, NoScriptError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

logger = structlog.get_logger(__name__)

T = TypeVar("T")

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ConnectionError)
"""What redis-py raises while Redis restarts: every script may be sent again, its token makes that safe."""

MAX_BATCH = 512
_FIRST_RETRY_S = 0.05
_LONGEST_RETRY_S = 2.0


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


def open_redis(url: str) -> Redis:
    """The client that `Queue` wants. Nothing is sent before the first call."""
    options: dict[str, Any] = {"decode_responses": True, "health_check_interval": 30}
    scheme = url.partition("://")[0]
    if scheme in _CONNECTIONS:
        options["connection_class"] = _CONNECTIONS[scheme]
    return Redis.from_url(url, **options)


class _ClosedIsAway(AbstractConnection):
    """Under uvloop a connection that Redis has just closed raises RuntimeError when it is written to."""

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            raise RedisConnectionError(f"Redis closed the connection: {error}") from error


class _Connection(_ClosedIsAway, Connection):
    pass


class _TlsConnection(_ClosedIsAway, SSLConnection):
    pass


_CONNECTIONS = {"redis": _Connection, "rediss": _TlsConnection}


class Scripts:
    """Calls Lua scripts by name.

    While one batch is on its way, further calls wait and form the next: under load many utterances share a round trip,
    without load nothing waits. A caller that is cancelled leaves the connection alone (a cancelled command can
    desynchronise it, redis-py#2665); its call still runs.
    """

    def __init__(self, redis: Redis, sources: Mapping[str, str]) -> None:
        self._redis = redis
        self._sources = sources
        self._shas = {name: hashlib.sha1(source.encode()).hexdigest() for name, source in sources.items()}
        self._waiting: list[tuple[asyncio.Future[Any], tuple[Any, ...]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def call(self, script: str, *args: Any) -> Any:
        """The script's answer.

        Raises:
            RedisError: Redis is away (`REDIS_AWAY`), or refused.
        """
        answer = asyncio.get_running_loop().create_future()
        self._waiting.append((answer, ("EVALSHA", self._shas[script], 0, *args)))
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._send_all(), name="redis-scripts")
        return await answer

    async def close(self) -> None:
        """Wait for what is on its way."""
        if self._sending is not None:
            with contextlib.suppress(Exception):
                await self._sending

    async def _send_all(self) -> None:
        while self._waiting:
            batch, self._waiting = self._waiting[:MAX_BATCH], self._waiting[MAX_BATCH:]
            try:
                answers = await self._send([command for _, command in batch])
            except BaseException as error:
                _settle([future for future, _ in batch], [error] * len(batch))
                if not isinstance(error, Exception):
                    raise
            else:
                _settle([future for future, _ in batch], answers)

    async def _send(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        answers = await self._execute(commands)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:  # Redis restarted: it forgot the scripts, and has run none of these
            for source in self._sources.values():
                await self._redis.script_load(source)
            for i, answer in zip(missing, await self._execute([commands[i] for i in missing]), strict=True):
                answers[i] = answer
        return answers

    async def _execute(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for command in commands:
                pipe.execute_command(*command)
            return list(await pipe.execute(raise_on_error=False))


def _settle(futures: list[asyncio.Future[Any]], answers: list[Any]) -> None:
    for future, answer in zip(futures, answers, strict=True):
        if future.done():
            continue
        if isinstance(answer, BaseException):
            future.set_exception(answer)
        else:
            future.set_result(answer)
