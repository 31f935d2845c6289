"""95 % intervals over conversations, by a bootstrap that sees each conversation once.

In a bootstrap sample a conversation comes Poisson(1) times, independently of the others (the limit of drawing with
replacement; Hanley and MacGibbon 2006, Chamandy et al. 2012). So every resample is a weighted sum that grows as
conversations pass by, memory does not depend on their number, and parts can be added up.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel

NUM_RESAMPLES = 1000
_QUANTILES = (0.025, 0.975)
_ENOUGH = 0.75
_DRAWS = 2**16

Floats = NDArray[np.float64]


class Estimate(BaseModel):
    """A figure with its 95 % interval; `low` and `high` None: it is over too few conversations for one."""

    value: float
    low: float | None = None
    high: float | None = None

    def scaled(self, factor: float) -> Estimate:
        """The same in another unit, `factor` above 0."""
        low, high = (None if end is None else end * factor for end in (self.low, self.high))
        return Estimate(value=self.value * factor, low=low, high=high)


def weights(where: tuple[int, ...], num_conversations: int, num_resamples: int = NUM_RESAMPLES) -> Floats:
    """(num_resamples, num_conversations): how often each conversation is in each resample.

    `where` names them: a seed, and which part of the data they are. The same numbers for the same name, whoever draws.
    """
    size = (num_resamples, num_conversations)
    return _TIMES[np.random.default_rng(where).integers(0, _DRAWS, size=size, dtype=np.uint16)]


class ResampledSums:
    """Sums of columns over conversations, and the same sums in every resample.

    `totals` is (columns,), `resampled` (resamples, columns).
    """

    def __init__(self, num_columns: int, num_resamples: int = NUM_RESAMPLES) -> None:
        self.totals: Floats = np.zeros(num_columns)
        self.resampled: Floats = np.zeros((num_resamples, num_columns))

    def add(self, rows: Floats, times: Floats) -> None:
        """Count conversations: `rows` (conversations, columns), `times` from `weights`."""
        self.totals += rows.sum(axis=0)
        self.resampled += times @ rows

    def merge(self, other: ResampledSums) -> None:
        """Count another part's conversations too."""
        self.totals += other.totals
        self.resampled += other.resampled

    def ratio(self, above: Floats, below: Floats, *, scale: float = 1.0) -> Estimate | None:
        """`scale` times (columns · above) / (columns · below), both (columns,); None where that divides by nothing."""
        divisor = float(self.totals @ below)
        if not divisor:
            return None
        value = float(self.totals @ above) / divisor
        return interval(value, self.resampled_ratio(above, below)).scaled(scale)

    def resampled_ratio(self, above: Floats, below: Floats) -> Floats:
        """(resamples,): the same ratio in each resample, NaN where it divides by nothing."""
        return quotients(self.resampled @ above, self.resampled @ below)


def quotients(above: Floats, below: Floats) -> Floats:
    """One by the other, NaN where the other is not above 0."""
    ratios: Floats = np.full(np.broadcast_shapes(above.shape, below.shape), np.nan)
    np.divide(above, below, out=ratios, where=below > 0)
    return ratios


def interval(value: float, resampled: Floats) -> Estimate:
    """The percentile interval of a figure by its resamples, (resamples,), NaN where a resample has none.

    Without an interval where more than a quarter of them have none: a figure of one conversation is missing in e⁻¹ of
    them, as often as the conversation is, and does not vary in the others.
    """
    found = resampled[~np.isnan(resampled)]
    if len(found) < _ENOUGH * len(resampled) or not len(found):
        return Estimate(value=value)
    low, high = np.quantile(found, _QUANTILES)
    return Estimate(value=value, low=float(low), high=float(high))


def centred_interval(value: float, resampled: Floats) -> Estimate:
    """The same for a figure that resampling moves one way: the resamples are shifted so that their mean is the figure.

    So it is over pairs, where a conversation that comes twice is paired with itself, and of a largest difference.
    """
    if np.isnan(resampled).all():
        return Estimate(value=value)
    return interval(value, resampled - np.nanmean(resampled) + value)


def _poisson_table() -> Floats:
    """How often a conversation comes, by a uniform draw of 16 bits: the Poisson(1) distribution to 1/65536."""
    times: list[float] = []
    share, below = math.exp(-1), 0.0
    for count in range(9):
        share = share / max(count, 1)
        below += share
        times += [float(count)] * (round(below * _DRAWS) - len(times))
    return np.array(times + [9.0] * (_DRAWS - len(times)))


_TIMES = _poisson_table()
