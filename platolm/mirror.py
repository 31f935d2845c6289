"""Bring a run home: submit it or find it again, follow its events, fetch each segment when it is committed."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from platolm.client import OrchestratorClient
from platolm.dataset import ManifestEntry
from platolm.errors import ApiError
from platolm.output import RunFolder, segment_is_whole
from platolm.runs import RunProgress, RunState, TurnEvent
from platolm.spec import RunRequest
from platolm.summary import RunSummary

DEFAULT_GIVE_UP_AFTER_S = 600.0

_FIRST_PAUSE_S = 0.25
_LONGEST_PAUSE_S = 10.0
_SEGMENT_ATTEMPTS = 3

ResultT = TypeVar("ResultT")


class Watcher(Protocol):
    """Who is shown what happens."""

    def turn(self, event: TurnEvent) -> None:
        """An utterance is complete."""

    def progress(self, progress: RunProgress) -> None:
        """The run is so far."""

    def notice(self, text: str) -> None:
        """Something the person should know; it does not stop the run."""


class Patience:
    """How long to bear an API that does not answer: growing pauses, then the error."""

    def __init__(self, give_up_after_s: float, watcher: Watcher) -> None:
        self._give_up_after_s = give_up_after_s
        self._watcher = watcher
        self._silent_since: float | None = None
        self._pause_s = _FIRST_PAUSE_S

    def answered(self) -> None:
        """The API answered: the next silence is a new one."""
        if self._silent_since is not None:
            self._watcher.notice("the API answers again")
        self._silent_since = None
        self._pause_s = _FIRST_PAUSE_S

    async def pause(self, error: ApiError) -> None:
        """Wait before asking again.

        Raises:
            ApiError: `error` itself, where it is not retryable or has lasted for too long.
        """
        if not error.retryable:
            raise error
        if self._silent_since is None:
            self._silent_since = time.monotonic()
            self._watcher.notice(
                "the API does not answer; trying again" if error.status is None else f"{error}; trying again"
            )
        if time.monotonic() - self._silent_since >= self._give_up_after_s:
            raise error
        await asyncio.sleep(self._pause_s * random.uniform(0.5, 1))
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)

    async def through(self, call: Callable[[], Awaitable[ResultT]]) -> ResultT:
        """The result of a call, asked for again while it fails with an error that may pass."""
        while True:
            try:
                result = await call()
            except ApiError as error:
                await self.pause(error)
            else:
                self.answered()
                return result


async def bring_home(
    client: OrchestratorClient,
    folder: RunFolder,
    request: RunRequest,
    watcher: Watcher,
    *,
    give_up_after_s: float = DEFAULT_GIVE_UP_AFTER_S,
) -> RunSummary:
    """Have the folder's run made, and its dataset brought into the folder; goes on where an earlier call stopped.

    Raises:
        ApiError: the API refuses the run, no longer knows it, or has not answered for `give_up_after_s`.
        OutputError: the folder cannot be written.
    """
    patience = Patience(give_up_after_s, watcher)
    progress = await _submitted(client, folder, request, watcher, patience)
    progress = await _Mirror(client, folder, watcher, progress, give_up_after_s).followed()
    dead = await patience.through(lambda: client.dead(progress.id)) if progress.dead else []
    return await asyncio.to_thread(folder.complete, progress, dead)


async def _submitted(
    client: OrchestratorClient, folder: RunFolder, request: RunRequest, watcher: Watcher, patience: Patience
) -> RunProgress:
    run_id = folder.run.run_id
    if run_id is not None:
        return await patience.through(lambda: _known_run(client, run_id, folder))
    try:
        run = await patience.through(lambda: client.submit(request, idempotency_key=folder.run.idempotency_key))
    except ApiError as error:
        if not error.retryable:
            folder.forget()
        raise
    folder.save(run_id=run.id)
    if run.cost_estimate is not None:
        watcher.notice(f"chat APIs are likely to cost {run.cost_estimate.explained()}")
    for warning in run.warnings:
        watcher.notice(warning)
    return run


async def _known_run(client: OrchestratorClient, run_id: str, folder: RunFolder) -> RunProgress:
    try:
        return await client.run(run_id)
    except ApiError as error:
        if error.status != 404:
            raise
        raise ApiError(
            f"the API at {client.url} does not know run {run_id} of {folder.path}: "
            "name the API it was begun on with --api, or begin again with another --out",
            status=404,
        ) from error


def state_notice(before: RunProgress | None, now: RunProgress) -> str | None:
    """What a person should be told when a run's state is another than before; None where there is nothing to say."""
    told = (before.state, before.pause) if before is not None else (RunState.RUNNING, None)
    if (now.state, now.pause) == told:
        return None
    if now.state is RunState.PAUSED:
        reason = f" by the {now.pause.by}: {now.pause.reason}" if now.pause is not None else ""
        return f"the run is paused{reason}; `platolm runs resume {now.id}` has it go on"
    if now.state is RunState.CANCELLING:
        return "the run is being cancelled; what is finished still comes home"
    if now.state is RunState.CANCELLED:
        return f"the run was cancelled: {now.committed:,} of {now.conversations:,} conversations are in its dataset"
    return "the run goes on" if now.state is RunState.RUNNING else None


def realism_notices(before: RunProgress | None, now: RunProgress) -> list[str]:
    """What a person should be told of figures that have left their bounds since; a pause names its own reason."""
    known = before.realism.out_of_bounds if before is not None and before.realism is not None else {}
    left = now.realism.out_of_bounds if now.realism is not None else {}
    reason = now.pause.reason if now.pause is not None else ""
    return [
        f"out of bounds: {wrong}" for name, wrong in left.items() if wrong != known.get(name) and wrong not in reason
    ]


async def follow(
    client: OrchestratorClient,
    progress: RunProgress,
    watcher: Watcher,
    *,
    give_up_after_s: float = DEFAULT_GIVE_UP_AFTER_S,
) -> RunProgress:
    """Show a run to the watcher until it is over, and return its last progress.

    Raises:
        ApiError: the API no longer knows the run, or has not answered for `give_up_after_s`.
    """
    listener = _Listener(client, watcher, progress, give_up_after_s)
    await listener.listen()
    return listener.progress


class _Listener:
    """Knows how far a run is, and tells the watcher."""

    def __init__(
        self, client: OrchestratorClient, watcher: Watcher, progress: RunProgress, give_up_after_s: float
    ) -> None:
        self._client = client
        self._watcher = watcher
        self._patience = Patience(give_up_after_s, watcher)
        self._told: RunProgress | None = None
        self.progress = progress
        self.news = asyncio.Event()
        """Set at each progress; who waits for the next one clears it."""
        self._note(progress)

    async def listen(self) -> None:
        """Return when the run is over."""
        while not self.progress.state.is_over:
            await self._patience.through(self._listen_once)

    async def _listen_once(self) -> None:
        self._note(await self._client.run(self.progress.id))
        self._patience.answered()
        if self.progress.state.is_over:
            return
        async for event in self._client.events(self.progress.id):
            self._patience.answered()
            if isinstance(event, RunProgress):
                self._note(event)
            else:
                self._watcher.turn(event)
        if not self.progress.state.is_over:
            await asyncio.sleep(_FIRST_PAUSE_S)

    def _note(self, progress: RunProgress) -> None:
        notices = [*realism_notices(self._told, progress), state_notice(self._told, progress)]
        self.progress = self._told = progress
        self._watcher.progress(progress)
        for notice in notices:
            if notice is not None:
                self._watcher.notice(notice)
        self.news.set()


class _Mirror:
    """One run followed to its end: a listener notes how far it is, a fetcher gets what is committed."""

    def __init__(
        self,
        client: OrchestratorClient,
        folder: RunFolder,
        watcher: Watcher,
        progress: RunProgress,
        give_up_after_s: float,
    ) -> None:
        self._client = client
        self._folder = folder
        self._listener = _Listener(client, watcher, progress, give_up_after_s)
        self._fetching = Patience(give_up_after_s, watcher)

    async def followed(self) -> RunProgress:
        """Return the run's last progress when all of it is in the folder."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listener.listen())
                group.create_task(self._fetch())
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None
        return self._progress

    @property
    def _progress(self) -> RunProgress:
        return self._listener.progress

    @property
    def _is_over(self) -> bool:
        return self._progress.state.is_over

    @property
    def _is_behind(self) -> bool:
        return self._folder.num_conversations < self._progress.committed

    async def _fetch(self) -> None:
        while not self._is_over or self._is_behind:
            if self._is_behind:
                await self._fetching.through(self._fetch_new)
            else:
                self._listener.news.clear()
                await self._listener.news.wait()

    async def _fetch_new(self) -> None:
        entries = await self._client.manifest(self._progress.id, after=self._folder.num_segments)
        for entry in entries:
            await asyncio.to_thread(self._folder.add_segment, entry, await self._whole_segment(entry))
        if self._is_over and self._is_behind:
            here, committed = self._folder.num_conversations, self._progress.committed
            raise ApiError(f"the API's manifest names {here} of {committed} conversations", retryable=True)
        if not entries:
            await asyncio.sleep(_FIRST_PAUSE_S)

    async def _whole_segment(self, entry: ManifestEntry) -> bytes:
        for _ in range(_SEGMENT_ATTEMPTS):
            content = await self._client.segment(self._progress.id, entry.segment)
            if segment_is_whole(entry, content):
                return content
        raise ApiError(
            f"segment {entry.segment} is damaged: its sha256 is not the manifest's; the API's data folder needs a look"
        )
