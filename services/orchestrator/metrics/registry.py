"""The registry of one process, and how it is shown."""

from __future__ import annotations

from prometheus_client import (
    CONTENT_TYPE_PLAIN_1_0_0,
    CollectorRegistry,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

EXPOSITION_TYPE = CONTENT_TYPE_PLAIN_1_0_0
"""Content type of what `exposition` gives."""


def process_registry() -> CollectorRegistry:
    """A registry that already tells the process's memory, processor time and open files (`process_*`)."""
    disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for every counter, which nobody asks for
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """Every metric as Prometheus reads it."""
    return generate_latest(registry)
