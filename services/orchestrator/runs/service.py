"""Starting runs and reading them."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from platolm.errors import InputError
from platolm.runs import RunProgress, RunRequest
from services.orchestrator.dataset import RunFolder
from services.orchestrator.queue import Queue
from services.orchestrator.runs.admission import admit
from services.orchestrator.settings import ApiSettings


class IdempotencyConflictError(InputError):
    """An idempotency key came again with another request."""


@dataclass(frozen=True)
class Submitted:
    """A run, and whether this request made it."""

    progress: RunProgress
    created: bool


@dataclass(frozen=True)
class RunService:
    """What the endpoints ask for."""

    settings: ApiSettings
    queue: Queue

    async def submit(self, request: RunRequest, idempotency_key: str | None) -> Submitted:
        """Create a run; the same key and request give the run that exists.

        The folder is on disk before the run is in Redis, so that a run always finds its seeds; a folder whose run never
        came to be is litter without effect.

        Raises:
            IdempotencyConflictError: the key was used for another request.
            NoUsableSeedError: no seed fits into the context.
            OutputError: the folder cannot be written.
        """
        key = idempotency_key or secrets.token_hex(16)
        digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
        holder = await self.queue.find_idempotent(key)
        if holder is None:
            admitted = await admit(self.queue, request.spec, request.seeds)
            run_id = f"run-{secrets.token_hex(6)}"
            RunFolder(self.settings.data_dir, run_id).create(request.spec, admitted.seeds)
            holder = await self.queue.create_run(
                run_id,
                request.spec,
                idempotency_key=key,
                digest=digest,
                created_at=time.time(),
                warnings=admitted.warnings,
            )
            created = holder[0] == run_id
        else:
            created = False
        if holder[1] != digest:
            raise IdempotencyConflictError(f"idempotency key {key} was used for another request, run {holder[0]}")
        progress = await self.queue.progress(holder[0])
        assert progress is not None, "a run that holds a key exists"
        return Submitted(progress, created)

    async def progress(self, run_id: str) -> RunProgress | None:
        return await self.queue.progress(run_id)

    async def list(self) -> list[RunProgress]:
        """Every run, newest first."""
        found = [await self.queue.progress(run_id) for run_id in await self.queue.run_ids()]
        return [progress for progress in found if progress is not None]

    def folder(self, run_id: str) -> RunFolder:
        return RunFolder(self.settings.data_dir, run_id)
