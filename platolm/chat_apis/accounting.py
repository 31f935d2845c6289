"""What one side of a run has used of chat APIs: requests, tokens, cost, and how long answers took."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from platolm.chat_apis.prices import Usage

LATENCY_BOUNDS_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Upper bounds of the histogram's bins; what takes longer is in one more."""


def _empty_bins() -> list[int]:
    return [0] * (len(LATENCY_BOUNDS_S) + 1)


@dataclass
class SideAccount:
    """Sums over requests; of several workers' they are added. Costs are in billionths, see `prices`.

    `cost_nanos` leaves out requests whose price is not known, counted in `num_unpriced`. `num_estimated` requests told
    no usage: their tokens are a guess.
    """

    num_requests: int = 0
    num_failed: int = 0
    num_throttled: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0
    cost_nanos: int = 0
    num_unpriced: int = 0
    num_estimated: int = 0
    latency_sum_s: float = 0.0
    latency_bins: list[int] = field(default_factory=_empty_bins)

    def answered(self, usage: Usage, cost_nanos: int | None, latency_s: float) -> None:
        """Count a request that was answered."""
        self.num_requests += 1
        self.prompt_tokens += usage.prompt
        self.cached_tokens += usage.cached
        self.generated_tokens += usage.generated
        self.num_estimated += usage.is_estimate
        self.num_unpriced += cost_nanos is None
        self.cost_nanos += cost_nanos or 0
        self.latency_sum_s += latency_s
        self.latency_bins[bisect_left(LATENCY_BOUNDS_S, latency_s)] += 1

    def failed(self, *, throttled: bool, cost_nanos: int | None) -> None:
        """Count a request that was not; `cost_nanos` is what it may have cost nevertheless."""
        self.num_requests += 1
        self.num_failed += 1
        self.num_throttled += throttled
        self.cost_nanos += cost_nanos or 0

    def latency_s(self, share: float) -> float | None:
        """The bound below which this share of the answers came; None where there was none, or it took longer."""
        num_answers = sum(self.latency_bins)
        num_below = 0
        for bound, num in zip(LATENCY_BOUNDS_S, self.latency_bins, strict=False):
            num_below += num
            if num_answers and num_below >= share * num_answers:
                return bound
        return None

    def __add__(self, other: SideAccount) -> SideAccount:
        mine, others = asdict(self), asdict(other)
        bins = [one + another for one, another in zip(self.latency_bins, other.latency_bins, strict=True)]
        sums = {name: value + others[name] for name, value in mine.items() if name != "latency_bins"}
        return SideAccount(**sums, latency_bins=bins)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> SideAccount:
        """What `to_json` gave."""
        return cls(**{**fields, "latency_bins": list(fields["latency_bins"])})
