"""What a dataset writer counts."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

WRITE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""From a small segment on a local disk to a large one on a slow object store."""


class WriterMetrics:
    """All metrics of one writer."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._segments = Counter("platolm_writer_segments", "Segments committed to a manifest", registry=registry)
        self._records = Counter("platolm_writer_records", "Conversations in them", registry=registry)
        self._bytes = Counter("platolm_writer_bytes", "Their size as written, in bytes", registry=registry)
        self._seconds = Histogram(
            "platolm_writer_write_seconds",
            "Time to write a segment, sync it and commit it",
            registry=registry,
            buckets=WRITE_BUCKETS_S,
        )
        self._problem = Gauge(
            "platolm_writer_problem", "Whether a dataset cannot be written, 0 or 1", registry=registry
        )

    def committed(self, *, num_records: int, size_bytes: int, seconds: float) -> None:
        """A segment is in its run's manifest."""
        self._segments.inc()
        self._records.inc(num_records)
        self._bytes.inc(size_bytes)
        self._seconds.observe(seconds)

    def watch_problem(self, problem: Callable[[], str | None]) -> None:
        """Ask this for what is wrong (None: nothing) whenever the metrics are read."""
        self._problem.set_function(lambda: float(problem() is not None))
