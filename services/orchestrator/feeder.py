"""Moves conversations from a run's seed blob into the queue, a bounded window ahead of the workers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import structlog

from services.orchestrator.conversations.runner import REDIS_AWAY
from services.orchestrator.dataset import RunFolder
from services.orchestrator.queue import Queue
from services.orchestrator.settings import ApiSettings

logger = structlog.get_logger(__name__)

FREE_SEED = "{}"
_BATCH = 256


class Feeder:
    """Feeds every active run; any number of feeders may run, the cursor decides."""

    def __init__(self, settings: ApiSettings, queue: Queue) -> None:
        self._settings = settings
        self._queue = queue
        self._seeds: dict[str, list[str]] = {}

    async def run(self) -> None:
        while True:
            try:
                for run_id in await self._queue.active_runs():
                    await self.feed(run_id)
            except REDIS_AWAY as error:
                logger.warning("redis_away", error=str(error))
            await asyncio.sleep(self._settings.poll_interval_s)

    async def feed(self, run_id: str) -> int:
        """Fill the run's window; gives how many conversations were moved."""
        spec = await self._queue.run_spec(run_id)
        cursor = await self._queue.cursor(run_id)
        if spec is None or cursor is None or cursor >= spec.conversations:
            self._seeds.pop(run_id, None)
            return 0
        seeds = await self._seeds_of(run_id)
        fed = 0
        while cursor < spec.conversations:
            free = self._settings.feed_window - await self._queue.waiting(run_id)
            batch = min(_BATCH, spec.conversations - cursor, free)
            if batch <= 0:
                break
            following = [seeds[i % len(seeds)] for i in range(cursor, cursor + batch)]
            moved = await self._queue.feed(
                run_id,
                cursor=cursor,
                seeds=following,
                window=self._settings.feed_window,
                max_finished=self._settings.max_unwritten,
            )
            if moved <= cursor:
                break
            fed += moved - cursor
            cursor = moved
        return fed

    async def _seeds_of(self, run_id: str) -> list[str]:
        if run_id not in self._seeds:
            folder = RunFolder(Path(self._settings.data_dir), run_id)
            self._seeds[run_id] = await asyncio.to_thread(folder.seed_lines) or [FREE_SEED]
        return self._seeds[run_id]
