"""Starting runs, steering them and reading how far they are."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from platolm.chat_apis.prices import nanos_of
from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import TALKS_RUN_ID
from platolm.errors import InputError, OutputError
from platolm.runs import PausedBy, RunProgress, RunState
from platolm.storage import LocalPlace
from services.orchestrator.crash_points import crash_point
from services.orchestrator.datasets.accepted_runs import AcceptedRun, AcceptedRuns
from services.orchestrator.datasets.run_place import RunPlace, RunPlaces
from services.orchestrator.dialogues.talks import Talks
from services.orchestrator.engines.sides import SIDE_NAMES, SideDescription
from services.orchestrator.queue import Queue
from services.orchestrator.runs.apart import take_in_apart
from services.orchestrator.runs.chat_costs import read_chat_prices
from services.orchestrator.runs.intake import Order, TakenIn, take_in
from services.orchestrator.settings import ApiSettings

_READ_TOGETHER = 16
_MAX_PLACES = 64
PAUSE_REASON = "asked for"


class IdempotencyConflictError(InputError):
    """An idempotency key came again with another request."""


class NotApplicableError(InputError):
    """The run's state does not allow what was asked for."""


@dataclass(frozen=True)
class Submitted:
    """A run, and whether this request made it."""

    progress: RunProgress
    created: bool


class RunService:
    """What the endpoints ask for."""

    def __init__(self, settings: ApiSettings, queue: Queue) -> None:
        self.settings = settings
        self.queue = queue
        self._run_places = RunPlaces(settings.data_dir, settings.allowed_outputs)
        self._accepted = AcceptedRuns(settings.data_dir)
        self._chat_prices = read_chat_prices(settings.chat_apis_file, settings.prices_file)
        self._places: dict[str, RunPlace] = {}
        self.talks = Talks(LocalPlace(self._run_places.runs_folder / TALKS_RUN_ID))
        self._one_large = asyncio.Lock()  # large submissions one after another: each may need much memory

    async def submit(self, body: bytes | Path, idempotency_key: str | None) -> Submitted:
        """Create a run; the same key and request give the run that exists.

        The folder is on disk before the run is in Redis, so that a run always finds its seeds; a folder whose run never
        came to be is litter without effect.

        Raises:
            IdempotencyConflictError: the key was used for another request.
            InvalidRequestError: the request is wrong.
            OutputError: the folder cannot be written.
        """
        key = idempotency_key or secrets.token_hex(16)
        holder = await self.queue.find_idempotent(key)
        run_id = f"run-{secrets.token_hex(6)}"
        taken = await self._take_in(body, await self._order(run_id, only_digest=holder is not None))
        if holder is None:
            crash_point("api.run_folder_written")
            holder = await self._create(run_id, taken, key)
            crash_point("api.run_created")
            if holder[0] != run_id:
                await self._discard(run_id, taken)
        if holder[1] != taken.digest:
            raise IdempotencyConflictError(f"this Idempotency-Key was used for another request, run {holder[0]}")
        return Submitted(await self._existing(holder[0]), created=holder[0] == run_id)

    async def _order(self, run_id: str, *, only_digest: bool) -> Order:
        described = {role: await self.queue.side(SIDE_NAMES[role]) for role in (USER, ASSISTANT)}
        return Order(
            run_id=run_id,
            data_dir=self.settings.data_dir,
            allowed_endpoints=self.settings.allowed_endpoints,
            allowed_outputs=self.settings.allowed_outputs,
            found={role: SideDescription(**side) for role, side in described.items() if side},
            chat_prices=self._chat_prices,
            only_digest=only_digest,
        )

    async def _take_in(self, body: bytes | Path, order: Order) -> TakenIn:
        if isinstance(body, bytes):
            return await asyncio.to_thread(take_in, body, order)
        async with self._one_large:
            return await take_in_apart(body, order)

    async def _discard(self, run_id: str, taken: TakenIn) -> None:
        """Remove the folder of a request that came at the same time as the one that made the run."""
        with contextlib.suppress(OutputError):
            await asyncio.to_thread(self._run_places.of(run_id, taken.spec).discard)

    async def _create(self, run_id: str, taken: TakenIn, key: str) -> tuple[str, str]:
        run = AcceptedRun(
            run_id=run_id,
            spec=taken.spec,
            idempotency_key=key,
            digest=taken.digest,
            created_at=time.time(),
            warnings=taken.warnings,
            expected_tokens=taken.context_tokens,
            cost_estimate="" if taken.cost is None else taken.cost.model_dump_json(),
        )
        holder = await run.create_in(self.queue)
        if holder[0] == run_id:
            await asyncio.to_thread(self._accepted.note, run)
        return holder

    async def pause(self, run_id: str) -> RunProgress:
        """Hand nothing more of a run out; a run that is paused already stays so, whoever paused it.

        Raises:
            NotApplicableError: the run is over, or is being cancelled.
        """
        state = await self.queue.pause(run_id, PausedBy.USER, PAUSE_REASON) or RunState.COMPLETED
        if state is not RunState.PAUSED:
            raise NotApplicableError(f"run {run_id} is {state}: only a running run can be paused")
        return await self._existing(run_id)

    async def resume(self, run_id: str, budget: float | None = None) -> RunProgress:
        """Hand a run out again; one that runs stays so. With `budget` it may spend so much from its beginning on.

        Raises:
            NotApplicableError: the run is over, or is being cancelled; or it has no budget that could be changed.
        """
        before = await self._existing(run_id)
        if before.state not in (RunState.PAUSED, RunState.RUNNING):
            raise NotApplicableError(f"run {run_id} is {before.state}: only a paused run can be resumed")
        if budget is not None and before.budget is None:
            raise NotApplicableError(f"run {run_id} was started without limits.budget: there is none to change")
        await self.queue.resume(run_id, budget_nanos=None if budget is None else nanos_of(budget))
        return await self._existing(run_id)

    async def cancel(self, run_id: str) -> RunProgress:
        """Give up what is not finished; a run that is cancelled already stays so.

        Raises:
            NotApplicableError: the run is completed.
        """
        state = await self.queue.cancel(run_id) or RunState.COMPLETED
        if state is RunState.COMPLETED:
            raise NotApplicableError(f"run {run_id} is {state}: there is nothing left to cancel")
        return await self._existing(run_id)

    async def retry_dead(self, run_id: str) -> tuple[int, RunProgress]:
        """Hand dead conversations out again; a completed run goes on.

        Raises:
            NotApplicableError: the run was cancelled.
        """
        before = await self._existing(run_id)
        if before.state in (RunState.CANCELLING, RunState.CANCELLED):
            raise NotApplicableError(f"run {run_id} is {before.state}: its conversations were given up")
        return await self.queue.retry_dead(run_id) or 0, await self._existing(run_id)

    async def find(self, run_id: str) -> RunProgress | None:
        """A run; the saved talks are one that is over and that no queue knows. None: there is no such run."""
        if run_id == TALKS_RUN_ID:
            return await asyncio.to_thread(self.talks.progress)
        return await self.queue.progress(run_id)

    async def _existing(self, run_id: str) -> RunProgress:
        progress = await self.find(run_id)
        assert progress is not None, "runs are never deleted"
        return progress

    async def runs(self) -> list[RunProgress]:
        """Every run, newest first."""
        ids = await self.queue.run_ids()
        found: list[RunProgress | None] = []
        for start in range(0, len(ids), _READ_TOGETHER):
            found += await asyncio.gather(*map(self.queue.progress, ids[start : start + _READ_TOGETHER]))
        return [progress for progress in found if progress is not None]

    def place(self, run: RunProgress) -> RunPlace:
        """Where a run's dataset lies."""
        place = self._places.pop(run.id, None) or self._run_places.of(run.id, run.spec)
        self._places[run.id] = place  # the last ones asked for stay: they remember what they read
        if len(self._places) > _MAX_PLACES:
            del self._places[next(iter(self._places))]
        return place
