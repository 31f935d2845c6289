"""The dataset writer: takes finished records from the queue into segments, then lets the queue forget them."""

from __future__ import annotations

import asyncio
import json
import time

import structlog

from platolm.errors import OutputError
from platolm.runs import RunProgress, RunState
from services.orchestrator.conversations.runner import REDIS_AWAY
from services.orchestrator.dataset import DatasetWriter, RunFolder
from services.orchestrator.queue import Queue
from services.orchestrator.settings import ApiSettings

logger = structlog.get_logger(__name__)

DISK_RETRY_S = 2.0


class Writer:
    """Writes the datasets of all active runs. `problem` says why writing does not succeed, or is None."""

    def __init__(self, settings: ApiSettings, queue: Queue) -> None:
        self._settings = settings
        self._queue = queue
        self._datasets: dict[str, DatasetWriter] = {}
        self._waiting_since: dict[str, float] = {}
        self.problem: str | None = None

    async def run(self) -> None:
        while True:
            try:
                await self._pass()
            except REDIS_AWAY as error:
                logger.warning("redis_away", error=str(error))
            except OutputError as error:
                self.problem = str(error)
                logger.error("dataset_not_written", error=str(error))
                await asyncio.sleep(DISK_RETRY_S)
            await asyncio.sleep(self._settings.poll_interval_s)

    async def _pass(self) -> None:
        active = await self._queue.active_runs()
        for run_id in active:
            if await self._is_due(run_id):
                await self.write(run_id)
        self.problem = None
        for run_id in set(self._datasets) - set(active):
            del self._datasets[run_id]

    async def write(self, run_id: str) -> RunState | None:
        """Commit what waits of one run; None where nothing waits.

        Raises:
            OutputError: the disk is full or not writable; the records stay in the queue.
        """
        self._waiting_since.pop(run_id, None)
        waiting = await self._queue.finished_records(run_id, limit=self._settings.segment_records)
        if not waiting:
            return None
        dataset = await self._dataset(run_id)
        records = {index: json.loads(record) for index, record in waiting.items()}
        written = await asyncio.to_thread(dataset.commit, records)
        state = await self._queue.commit(run_id, committed=len(dataset.committed), indices=waiting)
        logger.info("segment_committed", run_id=run_id, records=written, committed=len(dataset.committed))
        return state

    async def _is_due(self, run_id: str) -> bool:
        """Whether enough records wait, or some wait long enough, or nothing more will come."""
        waiting = await self._queue.num_finished_waiting(run_id)
        if not waiting:
            self._waiting_since.pop(run_id, None)
            return False
        since = self._waiting_since.setdefault(run_id, time.monotonic())
        if waiting >= self._settings.segment_records or time.monotonic() - since >= self._settings.segment_age_s:
            return True
        progress = await self._queue.progress(run_id)
        return progress is not None and _has_ended(progress)

    async def _dataset(self, run_id: str) -> DatasetWriter:
        if run_id not in self._datasets:
            folder = RunFolder(self._settings.data_dir, run_id)
            self._datasets[run_id] = await asyncio.to_thread(DatasetWriter, folder.path)
        return self._datasets[run_id]


def _has_ended(progress: RunProgress) -> bool:
    return progress.finished + progress.dead >= progress.conversations
