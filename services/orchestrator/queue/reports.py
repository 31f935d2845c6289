"""What workers say of themselves every few seconds, as Redis holds it: totals by side, and the engines that they see.

A field of the hash is `MICROSECONDS REPORT`: the time of Redis's clock, so that no two machines' clocks are compared,
and the report in JSON.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import orjson
from pydantic import TypeAdapter, ValidationError

REPORT_EVERY_S = 2.0
"""Between two reports of a worker."""
OLDEST_REPORT_S = 10.0
"""A report older than this says nothing of now: its worker is dead or cut off."""


@dataclass(slots=True)
class SideTotals:
    """What a worker got from one side's engines since its start.

    `attainable_cached_tokens` are the prompt tokens that the conversations' own past can have left in a cache,
    `attained_cached_tokens` those of them that were there.
    """

    utterances: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    attained_cached_tokens: int = 0
    attainable_cached_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ReplicaReport:
    """One engine as a worker sees it. `side` is `simulator` or `respondent`, `kv_used` goes from 0 to 1.

    `read_s_ago` is the age of what the engine said of itself; None, and so its numbers, where it said nothing.
    """

    side: str
    url: str
    usable: bool
    budget_tokens: int
    running: int | None
    waiting: int | None
    kv_used: float | None
    read_s_ago: float | None


@dataclass(frozen=True, slots=True)
class WorkerReport:
    """One worker at one moment; `totals` by side."""

    totals: Mapping[str, SideTotals]
    replicas: list[ReplicaReport]

    def to_json(self) -> bytes:
        return orjson.dumps(self)

    def reaches(self, side: str, urls: Collection[str]) -> bool:
        """Whether this worker can use one of these replicas for a side."""
        return any(seen.usable and seen.side == side and seen.url in urls for seen in self.replicas)


@dataclass(frozen=True, slots=True)
class StampedReport:
    """A report and when it came, in seconds since the epoch of Redis's clock."""

    at: float
    report: WorkerReport


_REPORT = TypeAdapter(WorkerReport)


def recent_reports(fields: Mapping[str, str], now: float) -> dict[str, StampedReport]:
    """The hash's reports by worker; left out are old ones and those that another version wrote in another form."""
    found = {}
    for worker, stamped in fields.items():
        microseconds, _, report = stamped.partition(" ")
        try:
            at = int(microseconds) / 1e6
            if now - at <= OLDEST_REPORT_S:
                found[worker] = StampedReport(at, _REPORT.validate_json(report))
        except (ValueError, ValidationError):
            continue
    return found
