"""A whole stack as child processes of this one: started in order, watched, its models replaced, stopped in reverse."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Any, NoReturn, Self, TypeVar

from platolm.errors import InputError, StackError
from platolm.stack.checks import check_data_dir, check_ports, free_ports, stack_lock
from platolm.stack.plan import WORKER, ProcessPlan, plan
from platolm.stack.process import ProcessState, ProcessStatus, StackProcess
from platolm.stack.relay import Relay
from platolm.stack.settings import LocalStackSettings
from platolm.stack.tokens import require_same_tokens

OnChange = Callable[[ProcessStatus], None]
Planner = Callable[[LocalStackSettings], Sequence[ProcessPlan]]
ResultT = TypeVar("ResultT")

_ON_THEIR_WAY_S = 0.5
"""For requests whose connections were passed on to the old server: it closes those that have not said anything yet."""


class LocalStack:
    """Async context manager: entering waits until every process is ready, leaving stops them all.

    While inside, await `watch()` beside other work: it raises when a process dies for good.

    Raises on entering:
        StackError: the folder, a port or a process is not as needed; whatever had started is stopped again.
    """

    def __init__(
        self, settings: LocalStackSettings, *, planner: Planner = plan, on_change: OnChange | None = None
    ) -> None:
        self.settings = settings
        self._serving = settings
        """The settings as they are now: `replace` changes models and inner ports, never what a caller sees."""
        self._planner = planner
        self._on_change = on_change
        self._processes = {one.name: self._process(one) for one in planner(settings)}
        self._beside: set[StackProcess] = set()
        """Coming up before they serve, or stopping after they did."""
        self._relays: dict[str, Relay] = {}
        self._replacing = asyncio.Lock()
        self._failure: asyncio.Future[BaseException] | None = None
        self._held = ExitStack()
        self._started_at = 0.0

    async def __aenter__(self) -> Self:
        folder = self.settings.data_dir.resolve()
        check_data_dir(folder)
        loop = asyncio.get_running_loop()
        self._started_at = loop.time()
        self._failure = loop.create_future()
        with ExitStack() as held:
            held.enter_context(stack_lock(folder))
            check_ports([process.plan for process in self._processes.values()])
            try:
                await self._start()
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
        assert self._failure is not None, "the stack is entered"
        raise await asyncio.shield(self._failure)

    async def guarding(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        """The result of `work`; should a process die for good before, its error."""
        watching, working = asyncio.create_task(self.watch()), asyncio.create_task(work)
        try:
            await asyncio.wait({watching, working}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                await watching
            return await working
        finally:
            watching.cancel()
            working.cancel()
            await asyncio.gather(watching, working, return_exceptions=True)

    async def replace(self, models: Mapping[str, str], *, in_place: bool = False) -> None:
        """Serve other models under the same public addresses, one side after the other, while runs go on.

        The new server comes up beside the old one, on ports of its own; then the worker gives its conversations back
        and starts again at the new engine, the old server ends what it has in flight, and the public port leads to the
        new one. With `in_place` the old server goes first: half the memory, but the side is away while the new one
        starts.

        Args:
            models: folder or hub name by server, `simulator` or `respondent`.

        Raises:
            InputError: a model's tokenizer is another than that of the model before it, or both sides share an engine.
            StackError: a new server did not come up; the side serves the model it served before.
        """
        if self.settings.shared_engine:
            raise InputError(
                "both sides share one engine, whose adapters stay: stop the stack, and start it with the new adapters"
            )
        async with self._replacing:
            for name, model in models.items():
                await require_same_tokens(getattr(self._serving, f"{name}_model"), model)
            for name, model in models.items():
                changed = self._serving.model_copy(update={f"{name}_model": model})
                await (self._replace_in_place(name, changed) if in_place else self._replace_beside(name, changed))

    async def _replace_beside(self, name: str, changed: LocalStackSettings) -> None:
        port, engine_port = free_ports(2)
        changed = changed.model_copy(update={f"{name}_port": port, f"{name}_engine_port": engine_port})
        new = await self._come_up(self._planned(changed)[name])
        old = self._processes[name]
        await self._stop_worker()
        self._beside.add(old)
        self._adopt(new, changed)
        await self._start_worker()
        if name in self._relays:
            self._relays[name].target = port
            await asyncio.sleep(_ON_THEIR_WAY_S)
            await self._retire(old)
        else:
            await asyncio.gather(self._take_over(name, port, old.plan.grace_s), self._retire(old))

    async def _replace_in_place(self, name: str, changed: LocalStackSettings) -> None:
        old = self._processes[name]
        await self._stop_worker()
        await old.stop()
        try:
            self._adopt(await self._come_up(self._planned(changed)[name]), changed)
        except StackError as error:
            await self._serve(old.plan)
            await self._start_worker()
            raise StackError(f"{error}; the model before it serves again", log_tail=error.log_tail) from error
        await self._start_worker()

    async def _come_up(self, one: ProcessPlan) -> StackProcess:
        """A process beside those that serve; nothing is left of it where it does not get ready."""
        process = self._process(one)
        self._beside.add(process)
        process.begin()
        try:
            await process.until_ready()
        except StackError:
            await self._retire(process)
            raise
        return process

    def _adopt(self, process: StackProcess, serving: LocalStackSettings) -> None:
        """It serves from here on, and its death is the stack's."""
        self._beside.discard(process)
        self._processes[process.plan.name] = process
        self._serving = serving
        process.supervisor.add_done_callback(self._ended)

    async def _serve(self, one: ProcessPlan) -> None:
        """Start a process in the place of one that was stopped."""
        process = self._process(one)
        process.begin()
        self._adopt(process, self._serving)
        await process.until_ready()

    async def _retire(self, process: StackProcess) -> None:
        await process.stop()
        self._beside.discard(process)

    async def _stop_worker(self) -> None:
        """Its utterances in flight are recorded, its conversations given back to the queue; no engine is asked now."""
        await self._processes[WORKER].stop()

    async def _start_worker(self) -> None:
        """A new one, which asks the engines what they serve, tells the API, and loads tokenizers anew."""
        await self._serve(self._planned(self._serving)[WORKER])

    async def _take_over(self, name: str, port: int, timeout_s: float) -> None:
        """Have the side's public port lead to another as soon as the first server lets go of it."""
        public = getattr(self.settings, f"{name}_port")
        self._relays[name] = await Relay.open(public, port, timeout_s=timeout_s)

    def _planned(self, settings: LocalStackSettings) -> dict[str, ProcessPlan]:
        return {one.name: one for one in self._planner(settings)}

    def _process(self, one: ProcessPlan) -> StackProcess:
        return StackProcess(one, startup_timeout_s=self.settings.startup_timeout_s, note=self._note)

    async def _start(self) -> None:
        """Start everything, each process when those before it are ready, and wait until all are."""
        for name in self._processes:
            self._note(name, ProcessState.WAITING)
        for process in self._processes.values():
            process.begin(self._processes[name].ready for name in process.plan.after)
            process.supervisor.add_done_callback(self._ended)
        await self.guarding(_all_ready(self._processes.values()))

    def _ended(self, supervisor: asyncio.Task[None]) -> None:
        """A supervision that ends by itself ends with an error: the stack's, if it is the first."""
        assert self._failure is not None
        if not supervisor.cancelled() and not self._failure.done():
            self._failure.set_result(supervisor.exception() or AssertionError("a supervision ended without an error"))

    async def _stop(self) -> None:
        """Stop everything, those first that nothing running depends on; killed at once if this is cancelled."""
        everything = [*self._processes.values(), *self._beside]
        await asyncio.gather(*(process.release() for process in everything))
        try:
            await asyncio.gather(*(process.stop() for process in self._beside))
            for wave in stop_waves([process.plan for process in self._processes.values()]):
                await asyncio.gather(*(self._processes[name].stop() for name in wave))
        except BaseException:
            await asyncio.gather(*(process.kill() for process in everything))
            raise
        finally:
            await asyncio.gather(*(relay.close() for relay in self._relays.values()))

    def _note(self, name: str, state: ProcessState) -> None:
        if self._on_change is not None:
            self._on_change(ProcessStatus(name, state, asyncio.get_running_loop().time() - self._started_at))


async def _all_ready(processes: Iterable[StackProcess]) -> None:
    for process in processes:
        await process.ready.wait()


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
