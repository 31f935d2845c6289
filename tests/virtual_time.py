"""An event loop whose time passes at once: where all tasks sleep, its clock goes on to the first that wakes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar

T = TypeVar("T")


LONGEST_THREAD_S = 60.0


class _Impatient(selectors.DefaultSelector):
    """Waits for threads alone; tells how long it should have waited for time to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0
        self.num_threads = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return super().select(0)
        waits_for_threads = self.num_threads > 0 or timeout is None
        ready = super().select(LONGEST_THREAD_S if waits_for_threads else 0)
        if not ready:
            if waits_for_threads or timeout is None:
                raise RuntimeError("every task waits, and none for time to pass, nor does a thread end")
            self.passed_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that sleeps, and does no input or output; no time passes while a thread works for it."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.passed_s

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        future = super().run_in_executor(executor, func, *args)
        self._impatient.num_threads += 1
        future.add_done_callback(self._thread_done)
        return future

    def _thread_done(self, _: asyncio.Future[Any]) -> None:
        self._impatient.num_threads -= 1


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives; its clock begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
