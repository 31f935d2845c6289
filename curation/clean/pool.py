"""Work on chunks in processes: results in the order of the chunks, and only a few chunks in memory."""

from __future__ import annotations

import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from typing import TypeVar

from platolm.errors import PlatoLMError

_AHEAD = 2  # chunks that wait for each process

Task = TypeVar("Task")
Result = TypeVar("Result")


class Pool:
    """Processes that take one chunk after the other, or this process alone."""

    def __init__(self, executor: Executor | None, num_processes: int) -> None:
        self._executor = executor
        self._max_pending = num_processes * (1 + _AHEAD)

    def ordered(self, function: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """The function's result for each task, in order; tasks are taken a little ahead.

        Raises:
            PlatoLMError: a process died.
        """
        if self._executor is None:
            yield from map(function, tasks)
            return
        pending: deque[Future[Result]] = deque()
        for task in tasks:
            pending.append(_submitted(self._executor, function, task))
            if len(pending) >= self._max_pending:
                yield _result(pending.popleft())
        while pending:
            yield _result(pending.popleft())


@contextmanager
def open_pool(num_processes: int) -> Iterator[Pool]:
    """So many processes; with one, the work is done in this process."""
    if num_processes == 1:
        yield Pool(None, 1)
        return
    executor = ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=_begin)
    try:
        yield Pool(executor, num_processes)
    finally:
        executor.shutdown(cancel_futures=True)


def _submitted(executor: Executor, function: Callable[[Task], Result], task: Task) -> Future[Result]:
    try:
        return executor.submit(function, task)
    except BrokenProcessPool as error:
        raise _death() from error


def _result(future: Future[Result]) -> Result:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise _death() from error


def _death() -> PlatoLMError:
    return PlatoLMError(
        "a process that cleaned died, of too little memory perhaps: start again with fewer --processes, or on a "
        "machine with more memory"
    )


def _begin() -> None:
    """Leave Ctrl-C to the process that was started, and end when that one does, however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)
