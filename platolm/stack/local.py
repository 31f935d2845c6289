"""A whole stack as child processes of this one: started in order, watched, stopped in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, NoReturn, Self

import httpx

from platolm.errors import StackError
from platolm.stack.checks import check_data_dir, check_ports, stack_lock
from platolm.stack.child import ChildProcess, Command
from platolm.stack.plan import ProcessPlan, plan
from platolm.stack.ready import is_ready
from platolm.stack.settings import LocalStackSettings

_POLL_INTERVAL_S = 0.2
_LONGEST_BACKOFF_S = 30.0
_GOOD_RUN_S = 60.0


class ProcessState(StrEnum):
    """Where a process of the stack stands."""

    WAITING = "waiting"
    STARTING = "starting"
    READY = "ready"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True)
class ProcessStatus:
    """One change of state; `since_s` counts from the start of the stack."""

    name: str
    state: ProcessState
    since_s: float


OnChange = Callable[[ProcessStatus], None]


class LocalStack:
    """Async context manager: entering waits until every process is ready, leaving stops them all.

    While inside, await `watch()` beside other work: it raises when a process dies for good.

    Raises on entering:
        StackError: the folder, a port or a process is not as needed; whatever had started is stopped again.
    """

    def __init__(
        self,
        settings: LocalStackSettings,
        *,
        plans: Sequence[ProcessPlan] | None = None,
        on_change: OnChange | None = None,
    ) -> None:
        self.settings = settings
        self.plans = tuple(plans if plans is not None else plan(settings))
        self._on_change = on_change
        self._children: dict[str, ChildProcess] = {}
        self._ready = {p.name: asyncio.Event() for p in self.plans}
        self._tasks: list[asyncio.Task[None]] = []
        self._held = ExitStack()
        self._started_at = 0.0

    async def __aenter__(self) -> Self:
        folder = self.settings.data_dir.resolve()
        check_data_dir(folder)
        self._started_at = asyncio.get_running_loop().time()
        with ExitStack() as held:
            held.enter_context(stack_lock(folder))
            check_ports(self.plans)
            for one in self.plans:
                self._note(one.name, ProcessState.WAITING)
            self._tasks = [asyncio.create_task(self._supervise(one), name=one.name) for one in self.plans]
            try:
                await self._all_ready()
            except BaseException:
                await self._stop()
                raise
            self._held = held.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._held:
            await self._stop()

    async def watch(self) -> NoReturn:
        """Wait for the first process that dies for good.

        Raises:
            StackError: with its last log lines.
        """
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        await done.pop()
        raise AssertionError("a supervisor ended without an error")

    async def _all_ready(self) -> None:
        everything = asyncio.gather(*(event.wait() for event in self._ready.values()))
        watching = asyncio.create_task(self.watch())
        try:
            either: set[asyncio.Future[Any]] = {everything, watching}
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if not everything.done():
                await watching
        finally:
            everything.cancel()
            watching.cancel()
            await asyncio.gather(everything, watching, return_exceptions=True)

    async def _supervise(self, one: ProcessPlan) -> None:
        """Start a process when its turn comes, and again after a death, as often as its plan allows.

        Raises:
            StackError: it did not come up, or died once too often.
        """
        for name in one.after:
            await self._ready[name].wait()
        num_restarts = 0
        loop = asyncio.get_running_loop()
        while True:
            try:
                child = await self._start(one)
                ready_at = loop.time()
                code = await child.wait()
            except StackError:
                if not self._ready[one.name].is_set() or num_restarts >= one.max_restarts:
                    self._note(one.name, ProcessState.FAILED)
                    raise
            else:
                if loop.time() - ready_at > _GOOD_RUN_S:
                    num_restarts = 0
                if num_restarts >= one.max_restarts:
                    self._note(one.name, ProcessState.FAILED)
                    raise _died(one, code, child)
            self._note(one.name, ProcessState.RESTARTING)
            await asyncio.sleep(backoff_s(num_restarts))
            num_restarts += 1

    async def _start(self, one: ProcessPlan) -> ChildProcess:
        """Start a process and wait until it is ready."""
        self._note(one.name, ProcessState.STARTING)
        child = await ChildProcess.start(Command(one.argv, one.env, one.log_path, one.grace_s))
        self._children[one.name] = child
        ended = asyncio.create_task(child.wait())
        timeout_s = self.settings.startup_timeout_s
        try:
            async with asyncio.timeout(timeout_s), httpx.AsyncClient(trust_env=False) as client:
                while not ended.done() and not await is_ready(one.ready_url, client):
                    await asyncio.wait({ended}, timeout=_POLL_INTERVAL_S)
        except TimeoutError as error:
            tail = child.log_tail()
            await child.stop()
            raise StackError(
                f"{one.name} was not ready within {timeout_s:g} s; its log is {one.log_path}", log_tail=tail
            ) from error
        finally:
            ended.cancel()
        if child.returncode is not None:
            raise _died(one, child.returncode, child)
        self._note(one.name, ProcessState.READY)
        self._ready[one.name].set()
        return child

    async def _stop(self) -> None:
        """Stop everything, those first that nothing running depends on; killed at once if this is cancelled."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            for wave in stop_waves(self.plans):
                await asyncio.gather(*(self._stop_one(name) for name in wave if name in self._children))
        except BaseException:
            await asyncio.gather(*(child.kill() for child in self._children.values()))
            raise

    async def _stop_one(self, name: str) -> None:
        child = self._children[name]
        if child.returncode is None:
            self._note(name, ProcessState.STOPPING)
            await child.stop()
            self._note(name, ProcessState.STOPPED)

    def _note(self, name: str, state: ProcessState) -> None:
        if self._on_change is not None:
            self._on_change(ProcessStatus(name, state, asyncio.get_running_loop().time() - self._started_at))


def stop_waves(plans: Sequence[ProcessPlan]) -> list[list[str]]:
    """The order of stopping: each wave holds what no process outside the earlier waves waits for."""
    left = {p.name: p for p in plans}
    waves = []
    while left:
        needed = {name for p in left.values() for name in p.after}
        wave = [name for name in reversed(left) if name not in needed]
        assert wave, "processes wait for one another in a circle"
        waves.append(wave)
        for name in wave:
            del left[name]
    return waves


def backoff_s(num_restarts: int) -> float:
    """Seconds before the restart after `num_restarts` earlier ones."""
    return float(min(2**num_restarts, _LONGEST_BACKOFF_S))


def _died(one: ProcessPlan, code: int, child: ChildProcess) -> StackError:
    return StackError(f"{one.name} ended with code {code}; its log is {one.log_path}", log_tail=child.log_tail())
