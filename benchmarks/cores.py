"""Which core does what while a benchmark runs: the same for what is measured and for what it is measured against."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from platolm.conversation import ASSISTANT, USER

_CLIENT_CORES = 2
"""A worker or bare client, and what stands beside it."""


@dataclass(frozen=True)
class Cores:
    """Cores by use; `client` is for whatever talks to the engines: worker, API, writer and Redis, or a bare client."""

    simulator: frozenset[int]
    respondent: frozenset[int]
    client: frozenset[int]

    def of_engine(self, role: str) -> frozenset[int]:
        """The cores of a side's engines."""
        return {USER: self.simulator, ASSISTANT: self.respondent}[role]

    def __str__(self) -> str:
        uses = {"simulator": self.simulator, "respondent": self.respondent, "everything else": self.client}
        return "; ".join(f"{use} on {_named(cores)}" for use, cores in uses.items())


def share_cores(cores: Sequence[int]) -> Cores:
    """One engine beside the other, the client on cores of its own; on fewer than three it shares the engines'."""
    if len(cores) < 3:
        return Cores(frozenset(cores[:1]), frozenset(cores[-1:]), frozenset(cores))
    each = max(1, (len(cores) - _CLIENT_CORES) // 2)
    return Cores(frozenset(cores[:each]), frozenset(cores[each : 2 * each]), frozenset(cores[2 * each :]))


def engine_threads(cores: frozenset[int]) -> int:
    """One core is left to the engine's own HTTP server: its threads spin while they wait for one another."""
    return max(1, len(cores) - 1)


@contextmanager
def pinned_to(cores: frozenset[int]) -> Iterator[None]:
    """What this thread starts while entered stays on these cores, and so does the thread itself."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _named(cores: frozenset[int]) -> str:
    return f"core{'s' if len(cores) > 1 else ''} {', '.join(map(str, sorted(cores)))}"
