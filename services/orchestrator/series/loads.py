"""How full the engines are, from what all workers say of them: each engine counts once, however many watch it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from services.orchestrator.queue.reports import ReplicaReport, StampedReport


@dataclass(frozen=True, slots=True)
class Load:
    """One side's engines together; None: none of them says so."""

    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None


def loads(reports: Iterable[StampedReport]) -> dict[str, Load]:
    """By side, of the engines that some worker can use."""
    by_side: dict[str, list[ReplicaReport]] = {}
    for replica in _freshest(reports).values():
        by_side.setdefault(replica.side, []).append(replica)
    return {side: _load(replicas) for side, replicas in by_side.items()}


def _freshest(reports: Iterable[StampedReport]) -> Mapping[tuple[str, str], ReplicaReport]:
    """Of each engine the youngest reading, by side and URL."""
    read = sorted(_readings(reports), key=lambda reading: reading[0])
    return {(replica.side, replica.url): replica for _, replica in read}


def _readings(reports: Iterable[StampedReport]) -> Iterator[tuple[float, ReplicaReport]]:
    for stamped in reports:
        for replica in stamped.report.replicas:
            if replica.usable and replica.read_s_ago is not None:
                yield stamped.at - replica.read_s_ago, replica


def _load(replicas: Sequence[ReplicaReport]) -> Load:
    return Load(
        running=sum(replica.running or 0 for replica in replicas),
        waiting=sum(replica.waiting or 0 for replica in replicas),
        kv_used=_kv_used([(one.kv_used, one.budget_tokens) for one in replicas if one.kv_used is not None]),
    )


def _kv_used(shares: Sequence[tuple[float, int]]) -> float | None:
    """The mean share, by the size of the caches where all tell it. `shares` are pairs of share and tokens."""
    if not shares:
        return None
    weights = [size for _, size in shares]
    if not all(weights):
        weights = [1] * len(shares)
    used = sum(share * weight for (share, _), weight in zip(shares, weights, strict=True))
    return round(used / sum(weights), 4)
