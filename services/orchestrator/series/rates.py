"""How fast workers go: each worker's last two reports, compared."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass

from services.orchestrator.queue.reports import SideTotals, StampedReport


@dataclass(frozen=True, slots=True)
class Rates:
    """One side over the last interval; None: no worker has reported twice, or nothing could be cached."""

    tokens_per_s: float | None = None
    utterances_per_s: float | None = None
    prefix_hit_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class _Interval:
    """What was counted between two reports of one worker."""

    seconds: float
    counted: Mapping[str, SideTotals]


class RateMeter:
    """Remembers what it was shown last of each worker.

    Samples and reports beat at their own times: where a worker has not reported since the last sample, its interval
    stands, so that no sample shows nothing and the next one everything twice.
    """

    def __init__(self) -> None:
        self._last: dict[str, StampedReport] = {}
        self._intervals: dict[str, _Interval] = {}

    def note(self, reports: Mapping[str, StampedReport]) -> None:
        """Take the reports that stand now; workers that are not among them are forgotten."""
        intervals = {worker: self._interval(worker, report) for worker, report in reports.items()}
        self._intervals = {worker: interval for worker, interval in intervals.items() if interval is not None}
        self._last = dict(reports)

    def rates(self, side: str) -> Rates:
        """All workers together."""
        if not self._intervals:
            return Rates()
        counted = [(each.counted.get(side, SideTotals()), each.seconds) for each in self._intervals.values()]
        attained = sum(totals.attained_cached_tokens for totals, _ in counted)
        attainable = sum(totals.attainable_cached_tokens for totals, _ in counted)
        return Rates(
            tokens_per_s=_sum(totals.generated_tokens / seconds for totals, seconds in counted),
            utterances_per_s=_sum(totals.utterances / seconds for totals, seconds in counted),
            prefix_hit_ratio=round(attained / attainable, 4) if attainable else None,
        )

    def _interval(self, worker: str, new: StampedReport) -> _Interval | None:
        """None at the first report, and where Redis came back with an older one or another clock."""
        last = self._last.get(worker)
        if last is None or new.at < last.at:
            return None
        if new.at == last.at:
            return self._intervals.get(worker)
        before = last.report.totals
        counted = {side: increase(before.get(side, SideTotals()), now) for side, now in new.report.totals.items()}
        return _Interval(new.at - last.at, counted)


def increase(before: SideTotals, now: SideTotals) -> SideTotals:
    """What was counted since `before`; where any count fell back, the worker began anew, and all that it has is new."""
    old, new = astuple(before), astuple(now)
    if any(count < earlier for earlier, count in zip(old, new, strict=True)):
        return now
    return SideTotals(*(count - earlier for earlier, count in zip(old, new, strict=True)))


def _sum(rates: Iterable[float]) -> float:
    return round(sum(rates), 2)
