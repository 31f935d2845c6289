"""Takes a run's finished records from the queue into its dataset, then lets the queue forget them."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable

import structlog

from platolm.runs import PausedBy, RunProgress, RunState
from services.orchestrator.crash_points import crash_point
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.metrics.writer import WriterMetrics
from services.orchestrator.queue import Queue
from services.orchestrator.run_keeper.judging import report_of
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings

logger = structlog.get_logger(__name__)

MOST_RECORDS = 4096
"""Records that a segment holds at most, whatever the run asks for: they are in memory while it is written."""

_LOOK_EVERY_S = 1.0
_PROBE_BYTES = 64 * 1024


class Committer:
    """Writes one run's dataset. Any number may, the manifest decides. `is_paused_by_writer` is as Redis said last."""

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
        self._metrics = metrics
        self._settings = settings
        self._stopping = stopping
        self._limit = min(run.spec.output.segment_records, MOST_RECORDS)
        self._waiting_since: float | None = None
        self._looked_at = float("-inf")
        self.is_paused_by_writer = False

    async def step(self) -> int:
        """Commit what is due; gives how many records were taken out of the queue.

        Raises:
            OutputError: the place cannot be written; the records stay in the queue.
        """
        waiting = await self._queue.num_finished_waiting(self._run.id)
        if not waiting:
            self._waiting_since = None
        if waiting and await self._is_due(waiting):
            return await self._commit_waiting()
        if time.monotonic() - self._looked_at >= _LOOK_EVERY_S:
            await self._agree(await self._look(), waiting)
        return 0

    async def probe(self) -> None:
        """See whether the place can be written: with what waits, or with a small file where nothing does.

        Raises:
            OutputError: it cannot.
        """
        if not await self._commit_waiting():
            await self._run.dataset()
            await self._run.blocking(self._write_probe)

    async def _commit_waiting(self) -> int:
        self._waiting_since = None
        taken = 0
        while not self._stopping.is_set():
            records = await self._queue.finished_records(self._run.id, limit=self._limit)
            if not records:
                break
            await self._commit(records)
            taken += len(records)
            if len(records) < self._limit:
                break
        return taken

    async def _commit(self, records: dict[int, str]) -> None:
        dataset = await self._run.dataset()
        began = time.monotonic()
        added = await self._run.blocking(lambda: dataset.commit(records))
        crash_point("writer.before_commit")
        await self._tell_queue(dataset, records)
        crash_point("writer.after_commit")
        if added.num_records:
            seconds = time.monotonic() - began
            self._metrics.committed(num_records=added.num_records, size_bytes=added.size_bytes, seconds=seconds)
        logger.info(
            "segment_committed", run_id=self._run.id, records=added.num_records, committed=len(dataset.committed)
        )

    async def _tell_queue(self, dataset: DatasetWriter, indices: Iterable[int]) -> None:
        """What is committed, and how the user does by that; what follows from it happens in the same step."""
        limits = self._run.spec.limits.realism
        realism = await self._run.blocking(lambda: report_of(dataset.realism, limits))
        committed = len(dataset.committed)
        state = await self._queue.commit(self._run.id, committed=committed, indices=indices, realism=realism)
        self._run.state = state or RunState.CANCELLED

    async def _is_due(self, waiting: int) -> bool:
        """Whether enough records wait, or some wait long enough, or nothing more will come."""
        now = time.monotonic()
        since = self._waiting_since = self._waiting_since if self._waiting_since is not None else now
        # Feeding stops at max_unwritten: a segment must not wait for more than that lets through.
        if waiting >= min(self._limit, max(1, self._settings.max_unwritten // 2)):
            return True
        if now - since >= self._settings.segment_age_s:
            return True
        progress = await self._look()
        return progress is not None and _has_ended(progress)

    async def _look(self) -> RunProgress | None:
        """Ask Redis how far the run is."""
        progress = await self._queue.progress(self._run.id)
        self._looked_at = time.monotonic()
        self._run.state = progress.state if progress is not None else RunState.CANCELLED
        pause = progress.pause if progress is not None else None
        self.is_paused_by_writer = pause is not None and pause.by is PausedBy.WRITER
        return progress

    async def _agree(self, progress: RunProgress | None, waiting: int) -> None:
        """Tell Redis again what the dataset holds, where it knows less: it came back a moment older."""
        if progress is None or progress.state.is_over or waiting:
            return
        dataset = await self._run.dataset()
        if len(dataset.committed) > progress.committed or progress.state is RunState.CANCELLING:
            await self._tell_queue(dataset, ())

    def _write_probe(self) -> None:
        place = self._run.place().place
        name = f"probe-{secrets.token_hex(8)}"
        place.write(name, [bytes(_PROBE_BYTES)])
        place.remove(name)


def _has_ended(progress: RunProgress) -> bool:
    nothing_left = progress.finished + progress.dead >= progress.conversations
    return nothing_left or progress.state is RunState.CANCELLING
