"""One process of a stack under supervision: started in its turn, started again after a death, stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum

import httpx

from platolm.errors import StackError
from platolm.stack.child import ChildProcess, Command
from platolm.stack.plan import ProcessPlan
from platolm.stack.ready import is_ready

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


Note = Callable[[str, ProcessState], None]


class StackProcess:
    """A plan with its running process. Whoever calls `begin` also calls `stop`.

    `ready` is set by the first readiness, and stays so through restarts.
    """

    def __init__(self, plan: ProcessPlan, *, startup_timeout_s: float, note: Note) -> None:
        self.plan = plan
        self.ready = asyncio.Event()
        self._startup_timeout_s = startup_timeout_s
        self._note = note
        self._child: ChildProcess | None = None
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def supervisor(self) -> asyncio.Task[None]:
        """The task that watches it: it ends with the error of a death for good, or is cancelled."""
        assert self._supervisor is not None, "it has begun"
        return self._supervisor

    def begin(self, after: Iterable[asyncio.Event] = ()) -> None:
        """Start it once those events have come."""
        assert self._supervisor is None, "a process begins once"
        self._supervisor = asyncio.create_task(self._supervise(tuple(after)), name=self.plan.name)

    async def until_ready(self) -> None:
        """Wait for the first readiness.

        Raises:
            StackError: it did not come up.
        """
        ready = asyncio.create_task(self.ready.wait())
        try:
            await asyncio.wait({ready, self.supervisor}, return_when=asyncio.FIRST_COMPLETED)
            if not self.ready.is_set():
                await self.supervisor
        finally:
            ready.cancel()

    async def release(self) -> None:
        """End the supervision: from here on a death is nobody's concern, and nothing is started again."""
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.gather(self._supervisor, return_exceptions=True)

    async def stop(self) -> None:
        """Ask it to stop, and wait; its guard kills it after the plan's grace."""
        await self.release()
        if self._child is not None and self._child.returncode is None:
            self._note(self.plan.name, ProcessState.STOPPING)
            await self._child.stop()
            self._note(self.plan.name, ProcessState.STOPPED)

    async def kill(self) -> None:
        """End it now, with all that it started."""
        await self.release()
        if self._child is not None:
            await self._child.kill()

    async def _supervise(self, after: tuple[asyncio.Event, ...]) -> None:
        """Start the process when its turn comes, and again after a death, as often as its plan allows.

        Raises:
            StackError: it did not come up, or died once too often.
        """
        for event in after:
            await event.wait()
        num_restarts = 0
        loop = asyncio.get_running_loop()
        while True:
            try:
                child = await self._start()
                ready_at = loop.time()
                code = await child.wait()
            except StackError:
                if not self.ready.is_set() or num_restarts >= self.plan.max_restarts:
                    self._note(self.plan.name, ProcessState.FAILED)
                    raise
            else:
                if loop.time() - ready_at > _GOOD_RUN_S:
                    num_restarts = 0
                if num_restarts >= self.plan.max_restarts:
                    self._note(self.plan.name, ProcessState.FAILED)
                    raise _died(self.plan, code, child)
            self._note(self.plan.name, ProcessState.RESTARTING)
            await asyncio.sleep(backoff_s(num_restarts))
            num_restarts += 1

    async def _start(self) -> ChildProcess:
        """Start the process and wait until it is ready."""
        plan, timeout_s = self.plan, self._startup_timeout_s
        self._note(plan.name, ProcessState.STARTING)
        child = await ChildProcess.start(Command(plan.argv, plan.env, plan.log_path, plan.grace_s))
        self._child = child
        ended = asyncio.create_task(child.wait())
        try:
            async with asyncio.timeout(timeout_s), httpx.AsyncClient(trust_env=False) as client:
                while not ended.done() and not await is_ready(plan.ready_url, client):
                    await asyncio.wait({ended}, timeout=_POLL_INTERVAL_S)
        except TimeoutError as error:
            tail = child.log_tail()
            await child.stop()
            raise StackError(
                f"{plan.name} was not ready within {timeout_s:g} s; its log is {plan.log_path}", log_tail=tail
            ) from error
        finally:
            ended.cancel()
        if child.returncode is not None:
            raise _died(plan, child.returncode, child)
        self._note(plan.name, ProcessState.READY)
        self.ready.set()
        return child


def backoff_s(num_restarts: int) -> float:
    """Seconds before the restart after `num_restarts` earlier ones."""
    return float(min(2**num_restarts, _LONGEST_BACKOFF_S))


def _died(one: ProcessPlan, code: int, child: ChildProcess) -> StackError:
    return StackError(f"{one.name} ended with code {code}; its log is {one.log_path}", log_tail=child.log_tail())
