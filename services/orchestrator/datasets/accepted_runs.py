"""Runs that a client was told of, on disk: Redis may come back without the last second, and a run may not get lost.

The file is written after the run is in Redis and before the client has its answer; it goes when the run is over. What
Redis no longer knows is made again from it, under the same idempotency key; conversations that are in the dataset
already are passed over when the run is fed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import structlog
from pydantic import BaseModel, ValidationError

from platolm.errors import OutputError
from platolm.spec import RunSpec
from platolm.storage import sync_folder, write_atomically
from services.orchestrator.queue import Queue

logger = structlog.get_logger(__name__)

_FOLDER = "accepted"


class AcceptedRun(BaseModel):
    """All that makes a run, but its seeds, which lie in its place."""

    run_id: str
    spec: RunSpec
    idempotency_key: str
    digest: str
    created_at: float
    warnings: list[str]
    expected_tokens: int | None = None
    cost_estimate: str = ""

    async def create_in(self, queue: Queue) -> tuple[str, str]:
        """Make the run unless its key is taken; gives the run and the request digest that hold the key."""
        return await queue.create_run(
            self.run_id,
            self.spec,
            idempotency_key=self.idempotency_key,
            digest=self.digest,
            created_at=self.created_at,
            warnings=self.warnings,
            expected_tokens=self.expected_tokens,
            cost_estimate=self.cost_estimate,
        )


class AcceptedRuns:
    """The files, below the data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._folder = data_dir / _FOLDER

    def note(self, run: AcceptedRun) -> None:
        """Write a run down, durably; blocks.

        Raises:
            OutputError: no space, or the folder cannot be written.
        """
        write_atomically(self._path(run.run_id), run.model_dump_json().encode())

    async def reconcile(self, queue: Queue) -> None:
        """Make again what Redis does not know, and forget what is over.

        Raises:
            RedisError: Redis is away.
        """
        for run in await asyncio.to_thread(lambda: list(self._all())):
            state = await queue.state(run.run_id)
            if state is None:
                holder, _ = await run.create_in(queue)
                logger.warning("run_restored", run_id=run.run_id, holder=holder)
            elif state.is_over:
                await asyncio.to_thread(self._forget, run.run_id)

    def _forget(self, run_id: str) -> None:
        """Where the disk refuses, the file stays until the next time."""
        try:
            self._path(run_id).unlink(missing_ok=True)
            sync_folder(self._folder)
        except (OSError, OutputError) as error:
            logger.warning("accepted_run_kept", run_id=run_id, error=str(error))

    def _all(self) -> Iterator[AcceptedRun]:
        for path in sorted(self._folder.glob("*.json")) if self._folder.is_dir() else []:
            try:
                yield AcceptedRun.model_validate_json(path.read_bytes())
            except FileNotFoundError:
                continue
            except (ValidationError, OSError) as error:
                logger.error("accepted_run_unreadable", path=str(path), error=str(error))

    def _path(self, run_id: str) -> Path:
        return self._folder / f"{run_id}.json"
