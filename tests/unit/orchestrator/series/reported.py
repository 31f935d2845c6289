"""Reports as workers make them, with what hardly matters filled in."""

from __future__ import annotations

from collections.abc import Sequence

from services.orchestrator.queue.reports import ReplicaReport, SideTotals, StampedReport, WorkerReport


def stamped(
    at: float,
    *,
    simulator: SideTotals | None = None,
    respondent: SideTotals | None = None,
    replicas: Sequence[ReplicaReport] = (),
) -> StampedReport:
    totals = {"simulator": simulator or SideTotals(), "respondent": respondent or SideTotals()}
    return StampedReport(at, WorkerReport(totals, list(replicas)))


def replica(
    url: str = "http://e1:8000/v1",
    *,
    side: str = "simulator",
    usable: bool = True,
    budget_tokens: int = 0,
    running: int | None = 2,
    waiting: int | None = 1,
    kv_used: float | None = 0.5,
    read_s_ago: float | None = 1.0,
) -> ReplicaReport:
    return ReplicaReport(side, url, usable, budget_tokens, running, waiting, kv_used, read_s_ago)
