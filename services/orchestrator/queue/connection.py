"""Scripts on one Redis: calls that arrive together travel together, and none is ever cancelled half-way."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Mapping
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.orchestrator.queue.outages import DEMOTED, RedisRefusesError, refusal_of

MAX_BATCH = 512


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
            RedisError: Redis is away or takes no writes (`REDIS_AWAY`), or refused.
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
        answers = [refusal_of(answer) or answer for answer in answers]
        if any(isinstance(answer, RedisRefusesError) and answer.word == DEMOTED for answer in answers):
            await self._redis.connection_pool.disconnect()  # the next connection asks where the master is now
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
