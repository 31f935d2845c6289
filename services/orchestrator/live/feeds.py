"""Where events come from: a run until it is over, or all runs for as long as somebody listens."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import AsyncExitStack

import orjson

from platolm.runs import RunProgress
from services.orchestrator.live.audience import Audience
from services.orchestrator.live.channels import Channels
from services.orchestrator.live.messages import RunMessage, event
from services.orchestrator.queue import Queue

REPORT_EVERY_S = 1.0
SHOWN_WHEN_OVER_S = 10.0
"""For so long the wall still tells of a run that has ended."""


class Feed(ABC):
    """Makes events for an audience."""

    def __init__(self, audience: Audience) -> None:
        self.audience = audience

    @abstractmethod
    async def run(self) -> None:
        """Make events until there will be no more.

        Raises:
            RedisError: Redis went away (`REDIS_AWAY`).
        """

    def greeting(self) -> bytes:
        """What a newcomer gets at once; nothing until there is something."""
        return b""


class RunFeed(Feed):
    """One run: its turns and endings, its progress once a second, until it is over."""

    def __init__(self, queue: Queue, channels: Channels, run_id: str) -> None:
        super().__init__(Audience())
        self._queue = queue
        self._channels = channels
        self._run_id = run_id
        self._progress = b""

    def greeting(self) -> bytes:
        return self._progress

    async def run(self) -> None:
        channel_name = self._queue.key("events", self._run_id)
        async with self._channels.open(channel_name, self._take) as channel:
            while (progress := await self._queue.progress(self._run_id)) is not None:
                self._report(progress)
                if progress.state.is_over:
                    return
                await channel.wait(REPORT_EVERY_S)

    def _take(self, _channel: str, text: str) -> None:
        self.audience.tell(RunMessage(self._run_id, text).event)

    def _report(self, progress: RunProgress) -> None:
        is_first = not self._progress
        self._progress = event("progress", progress.model_dump_json().encode())
        self.audience.show("progress", self._progress)
        if is_first:
            self.audience.flush()


class Wall(Feed):
    """All open runs, or a chosen one: where they are once a second, and (with `turns`) their turns and endings."""

    def __init__(self, queue: Queue, channels: Channels, *, run_id: str | None, turns: bool) -> None:
        super().__init__(Audience())
        self._queue = queue
        self._channels = channels
        self._run_id = run_id
        self._turns = turns
        self._runs = b""
        self._open_at: dict[str, float] = {}
        self._names: dict[str, str | None] = {}

    def greeting(self) -> bytes:
        return self._runs

    def show_sample(self, content: bytes) -> None:
        self.audience.show("sample", content)

    async def run(self) -> None:
        async with AsyncExitStack() as stack:
            name = self._queue.key("events", self._run_id or "*")
            listening = self._channels.open(name, self._take, is_pattern=self._run_id is None)
            channel = await stack.enter_async_context(listening) if self._turns else None
            while True:
                await self._report()
                if channel is None:
                    await asyncio.sleep(REPORT_EVERY_S)
                else:
                    await channel.wait(REPORT_EVERY_S)

    def _take(self, channel: str, text: str) -> None:
        run_id = self._run_id or self._queue.run_of_events(channel)
        self.audience.tell(RunMessage(run_id, text).event)

    async def _report(self) -> None:
        is_first = not self._runs
        run_ids = [self._run_id] if self._run_id is not None else await self._shown_runs()
        summaries = await self._queue.summaries(run_ids)
        for summary in summaries:
            summary["name"] = await self._name(summary["id"])
        summaries.sort(key=lambda summary: summary["created_at"], reverse=True)
        self._runs = event("runs", orjson.dumps({"runs": summaries}))
        self.audience.show("runs", self._runs)
        if is_first:
            self.audience.flush()

    async def _shown_runs(self) -> list[str]:
        """Those that are open, and those that were a moment ago."""
        now = time.monotonic()
        self._open_at |= dict.fromkeys(await self._queue.open_runs(), now)
        self._open_at = {run_id: at for run_id, at in self._open_at.items() if now - at < SHOWN_WHEN_OVER_S}
        self._names = {run_id: name for run_id, name in self._names.items() if run_id in self._open_at}
        return list(self._open_at)

    async def _name(self, run_id: str) -> str | None:
        if run_id not in self._names:
            spec = await self._queue.run_spec(run_id)
            self._names[run_id] = spec.name if spec is not None else None
        return self._names[run_id]
