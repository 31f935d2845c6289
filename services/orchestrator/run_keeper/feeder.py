"""Moves a run's conversations from its seeds into the queue, a bounded window ahead of the workers."""

from __future__ import annotations

from platolm.runs import RunState
from platolm.spec import seed_position
from services.orchestrator.crash_points import crash_point
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.seed_file import SeedFile
from services.orchestrator.queue import Queue
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings

FREE_SEED = "{}"
PASSED_OVER = ""
"""Given for a conversation that is in the dataset already: Redis came back older than the dataset."""

WINDOW_BYTES = 64 * 1024 * 1024
"""What the seeds of a run may take in Redis: large ones make its window smaller."""

_BATCH = 1024
_BATCH_BYTES = 4 * 1024 * 1024
_REFILLS_PER_WINDOW = 8
"""A window is filled up once so much of it is free that a call is worth it."""


class Feeder:
    """Feeds one run. Any number of feeders may feed it, the cursor decides."""

    def __init__(self, run: OpenRun, queue: Queue, settings: WriterSettings) -> None:
        self._run = run
        self._queue = queue
        self._settings = settings
        self._last_cursor = 0

    async def step(self) -> int:
        """Fill the run's window; gives how many conversations were moved.

        Raises:
            OutputError: the seeds or the manifest cannot be read.
        """
        total = self._run.spec.conversations
        if self._run.state is not RunState.RUNNING:
            return 0
        cursor = await self._queue.cursor(self._run.id)
        if cursor is None:
            return 0
        await self._notice_older_redis(cursor)
        if cursor >= total:
            return 0
        seeds, dataset = await self._run.seeds(), await self._run.dataset()
        window = self._window(seeds)
        free = window - await self._queue.waiting(self._run.id)
        if free < min(max(1, window // _REFILLS_PER_WINDOW), total - cursor):
            return 0
        return await self._fill(cursor, free, window, seeds, dataset)

    async def probe(self) -> None:
        """See whether the seeds can be read.

        Raises:
            OutputError: they cannot.
        """
        await self._run.seeds()

    async def _fill(self, cursor: int, free: int, window: int, seeds: SeedFile, dataset: DatasetWriter) -> int:
        start, total = cursor, self._run.spec.conversations
        while cursor < total and free > 0:
            batch = self._batch(cursor, min(free, _BATCH, total - cursor), seeds, dataset)
            crash_point("feeder.before_feed")
            moved = await self._queue.feed(
                self._run.id, cursor=cursor, seeds=batch, window=window, max_finished=self._settings.max_unwritten
            )
            crash_point("feeder.after_feed")
            self._last_cursor = max(self._last_cursor, moved)
            free -= sum(seed != PASSED_OVER for seed in batch)
            if moved != cursor + len(batch):  # the window or the unwritten records hold it back, or another one feeds
                return max(0, moved - start)
            cursor = moved
        return cursor - start

    def _batch(self, cursor: int, count: int, seeds: SeedFile, dataset: DatasetWriter) -> list[str]:
        """Seeds of the next conversations, `count` or fewer where they are large."""
        batch: list[str] = []
        size = 0
        for index in range(cursor, cursor + count):
            seed = PASSED_OVER if index in dataset.committed else self._seed(index, seeds)
            size += len(seed)
            if batch and size > _BATCH_BYTES:
                break
            batch.append(seed)
        return batch

    def _seed(self, index: int, seeds: SeedFile) -> str:
        return seeds.line(seed_position(index, self._run.spec, len(seeds))) if len(seeds) else FREE_SEED

    def _window(self, seeds: SeedFile) -> int:
        fitting = int(WINDOW_BYTES / seeds.mean_bytes) if len(seeds) else self._settings.feed_window
        return max(1, min(self._settings.feed_window, fitting))

    async def _notice_older_redis(self, cursor: int) -> None:
        """Where the cursor went back, other writers may have committed what is about to be fed again."""
        if cursor < self._last_cursor:
            dataset = await self._run.dataset()
            await self._run.blocking(dataset.refresh)
        self._last_cursor = cursor
