"""Many requests, a bounded number of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

ItemT = TypeVar("ItemT")


async def work_through(items: Iterable[ItemT], work: Callable[[ItemT], Awaitable[None]], *, at_once: int) -> None:
    """Do the work for each item; the first error stops the rest and is raised as itself, not in a group."""
    waiting = iter(items)

    async def take() -> None:
        for item in waiting:  # all takers share the iterator, and nothing else runs between two of its steps
            await work(item)

    first: BaseException | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(take())
    except BaseExceptionGroup as errors:
        first = errors.exceptions[0]
    if first is not None:
        raise first
