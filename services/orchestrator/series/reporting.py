"""What a worker reports of itself: its totals, and its engines as it sees them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from services.orchestrator.engines.replicas import Pools, Replica
from services.orchestrator.engines.sides import SIDE_NAMES
from services.orchestrator.metrics.replicas import replica_label
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue.reports import ReplicaReport, WorkerReport


def worker_report(metrics: WorkerMetrics, pools: Pools) -> WorkerReport:
    """A worker at this moment. Engines are not asked: it says what they said at the last look."""
    return WorkerReport(totals=metrics.totals(), replicas=list(_replicas(pools, time.monotonic())))


def _replicas(pools: Pools, now: float) -> Iterator[ReplicaReport]:
    for role, replica in pools.replicas_by_role():
        yield _replica(SIDE_NAMES[role], replica, now)


def _replica(side: str, replica: Replica, now: float) -> ReplicaReport:
    reading = replica.reading
    speaks = not reading.is_silent
    return ReplicaReport(
        side=side,
        url=replica_label(replica.url),
        usable=replica.is_usable(now),
        budget_tokens=reading.kv_tokens,
        running=reading.running if speaks else None,
        waiting=reading.waiting if speaks else None,
        kv_used=reading.kv_used,
        read_s_ago=round(now - replica.read_at, 3) if speaks else None,
    )
