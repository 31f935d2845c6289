"""What a worker counts of chat APIs, by side; their tokens and times are among those of all utterances."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.prices import NANOS, Usage


class ChatApiMetrics:
    """Requests by how they ended, and their cost."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._requests = Counter(
            "platolm_chat_api_requests", "Requests to chat APIs", ["side", "outcome"], registry=registry
        )
        self._cost = Counter(
            "platolm_chat_api_cost", "Their cost, in the currency of the operator's prices", ["side"], registry=registry
        )

    def asked(self, side: str, outcome: str, cost_nanos: int | None) -> None:
        """A request has ended: `answered`, `failed`, or `throttled` with 429."""
        self._requests.labels(side, outcome).inc()
        self._cost.labels(side).inc((cost_nanos or 0) / NANOS)


class MeteredAccount(SideAccount):
    """An account whose requests are counted for Prometheus too."""

    def __init__(self, metrics: ChatApiMetrics, side: str) -> None:
        super().__init__()
        self._metrics = metrics
        self._side = side

    def answered(self, usage: Usage, cost_nanos: int | None, latency_s: float) -> None:
        super().answered(usage, cost_nanos, latency_s)
        self._metrics.asked(self._side, "answered", cost_nanos)

    def failed(self, *, throttled: bool, cost_nanos: int | None) -> None:
        super().failed(throttled=throttled, cost_nanos=cost_nanos)
        self._metrics.asked(self._side, "throttled" if throttled else "failed", cost_nanos)
