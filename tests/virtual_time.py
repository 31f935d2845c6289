"""An event loop whose time passes at once: where all tasks sleep, its clock goes on to the first that wakes."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


LONGEST_THREAD_S = 10.0


class _Impatient(selectors.SelectSelector):
    """Waits for threads alone; tells how long it should have waited for time to pass."""

    def __init__(self) -> None:
        super().__init__()
        self.passed_s = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(LONGEST_THREAD_S if timeout is None else 0)
        if not ready:
            if timeout is None:
                raise RuntimeError("every task waits, and none for time to pass")
            self.passed_s += timeout
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """For code that sleeps, and does no input or output; a thread is waited for where nothing else is."""

    def __init__(self) -> None:
        self._impatient = _Impatient()
        super().__init__(self._impatient)

    def time(self) -> float:
        return self._impatient.passed_s


def in_virtual_time(main: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives; its clock begins at 0."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)
