"""A worker's view of its engines, read when the metrics are: a replica that is gone leaves no series."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit, urlunsplit

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector


@dataclass(frozen=True, slots=True)
class ReplicaReading:
    """One engine as the worker knows it now; `side` is `simulator` or `respondent`.

    `num_asked` counts this worker's requests that wait for its answer; the engine says the rest of itself.
    """

    side: str
    url: str
    is_usable: bool
    budget_tokens: int
    num_asked: int
    num_running: int
    num_waiting: int


class ReplicaCollector(Collector):
    """Gauges of the replicas that `readings` gives; one that several pools share is shown once a side."""

    def __init__(self, readings: Callable[[], Iterable[ReplicaReading]]) -> None:
        self._readings = readings

    def collect(self) -> Iterator[GaugeMetricFamily]:
        by_series = {(reading.side, replica_label(reading.url)): reading for reading in self._readings()}
        for name, meaning, value in _GAUGES:
            family = GaugeMetricFamily(name, meaning, labels=["side", "replica"])
            for labels, reading in by_series.items():
                family.add_metric(labels, value(reading))
            yield family


def replica_label(url: str) -> str:
    """The URL without a user and password that may stand in it."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


_GAUGES: tuple[tuple[str, str, Callable[[ReplicaReading], float]], ...] = (
    ("platolm_replica_usable", "Whether it gets conversations, 0 or 1", lambda reading: float(reading.is_usable)),
    ("platolm_replica_budget_tokens", "What its KV cache holds, 0: not known", lambda reading: reading.budget_tokens),
    ("platolm_replica_asked", "Requests of this worker that it has not answered", lambda reading: reading.num_asked),
    ("platolm_replica_running", "Requests that the engine works on", lambda reading: reading.num_running),
    ("platolm_replica_waiting", "Requests that wait inside the engine", lambda reading: reading.num_waiting),
)
