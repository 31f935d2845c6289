"""Keeps one run going: feeds it and writes its dataset until it is over, and pauses it while its place is away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable
from typing import Protocol

import structlog
from redis.exceptions import RedisError

from platolm.runs import PausedBy
from services.orchestrator.metrics.writer import WriterMetrics
from services.orchestrator.queue import REDIS_AWAY, Queue
from services.orchestrator.run_keeper.committer import Committer
from services.orchestrator.run_keeper.feeder import Feeder
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings

logger = structlog.get_logger(__name__)

FIRST_RETRY_S = 1.0
LONGEST_RETRY_S = 60.0


class Part(Protocol):
    """What is done for a run again and again."""

    def step(self) -> Awaitable[int]:
        """Do what is to do; gives how much that was."""
        ...

    def probe(self) -> Awaitable[None]:
        """After a failure: see whether it would succeed now."""
        ...


def retry_delay_s(failures: int) -> float:
    """Seconds to wait after so many failures in a row (from 1): doubling, with jitter."""
    return random.uniform(0.5, 1.0) * min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(failures - 1, 16))


class Keeper:
    """One run's feeder and committer. A failure of one run's place holds up no other run."""

    def __init__(
        self,
        run: OpenRun,
        queue: Queue,
        settings: WriterSettings,
        *,
        metrics: WriterMetrics,
        stopping: asyncio.Event,
    ) -> None:
        self._run = run
        self._queue = queue
        self._settings = settings
        self._stopping = stopping
        self._feeder = Feeder(run, queue, settings)
        self._committer = Committer(run, queue, settings, metrics=metrics, stopping=stopping)
        self._failures: dict[Part, int] = {}
        self.problem: str | None = None
        """Why the run cannot be fed or written at present."""
        self._log = logger.bind(run_id=run.id)

    async def keep(self) -> None:
        """Until the run is over or this process stops."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._committer), name=f"committer-{self._run.id}")
            group.create_task(self._repeat(self._feeder), name=f"feeder-{self._run.id}")

    async def _repeat(self, part: Part) -> None:
        while not (self._run.state.is_over or self._stopping.is_set()):
            try:
                await self._sleep(await self._step(part))
            except REDIS_AWAY as error:
                self._log.warning("redis_away", error=str(error))
                await self._sleep(self._settings.poll_interval_s)

    async def _step(self, part: Part) -> float:
        """Seconds until the next one."""
        try:
            if part in self._failures:
                await part.probe()
                await self._recover(part)
            done = await part.step()
        except REDIS_AWAY:
            raise
        except Exception as error:  # every file system has errors of its own, and no record may end the others' writing
            return await self._fail(part, error)
        if self._committer.is_paused_by_writer and not self._failures:
            self._failures[self._committer] = 0  # paused by a writer that is gone: look whether its reason still stands
        return 0.0 if done else self._settings.poll_interval_s

    async def _fail(self, part: Part, error: Exception) -> float:
        """Pause the run, and say when to try again."""
        self._failures[part] = self._failures.get(part, 0) + 1
        delay_s = retry_delay_s(self._failures[part])
        self.problem = reason = str(error) or type(error).__name__
        self._log.error("place_failed", error=reason, failures=self._failures[part], retry_in_s=round(delay_s, 1))
        with contextlib.suppress(RedisError):
            await self._queue.pause(self._run.id, PausedBy.WRITER, reason)
        return delay_s

    async def _recover(self, part: Part) -> None:
        del self._failures[part]
        if self._failures:
            return
        self.problem = None
        self._committer.is_paused_by_writer = False
        self._run.state = await self._queue.resume(self._run.id, PausedBy.WRITER) or self._run.state
        self._log.info("place_recovered")

    async def _sleep(self, delay_s: float) -> None:
        """A pause that stopping ends."""
        try:
            await asyncio.wait_for(self._stopping.wait(), delay_s)
        except TimeoutError:
            return
