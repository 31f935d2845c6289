"""How far two datasets are apart in the length of what their users say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from curation.stats.figures import LENGTH_CAP, Distance, Measured
from curation.stats.intervals import Estimate, Floats, centred_interval, interval, quotients

LENGTH_BINS = np.unique(np.geomspace(1, LENGTH_CAP, 60).round())
"""Upper bounds, in words, of the bins in which lengths are resampled; the first takes lengths of 0 too."""


def length_rows(lengths: Sequence[Sequence[int]]) -> Floats:
    """(conversations, bins): how many user turns of each length a conversation has."""
    owners = np.repeat(np.arange(len(lengths)), [len(one) for one in lengths])
    capped = np.minimum([length for one in lengths for length in one], LENGTH_CAP)
    places = owners * len(LENGTH_BINS) + np.searchsorted(LENGTH_BINS, capped)
    counts = np.bincount(places, minlength=len(lengths) * len(LENGTH_BINS))
    return counts.reshape(len(lengths), len(LENGTH_BINS)).astype(np.float64)


def distance(mine: Measured, theirs: Measured) -> Distance:
    """From another dataset, of people's conversations say."""
    gap = kolmogorov_smirnov(mine.statistics.user_lengths, theirs.statistics.user_lengths)
    return Distance(
        other=theirs.statistics.name,
        kolmogorov_smirnov=None if gap is None else _with_interval(gap, mine, theirs),
        mean_ratio=_mean_ratio(mine, theirs),
    )


def kolmogorov_smirnov(one: Mapping[int, int], other: Mapping[int, int]) -> float | None:
    """The largest gap between two cumulative distributions, each as counts by value; None where one is empty."""
    totals = sum(one.values()), sum(other.values())
    if not all(totals):
        return None
    gap, sums = 0.0, [0, 0]
    for value in sorted(one.keys() | other.keys()):
        sums[0] += one.get(value, 0)
        sums[1] += other.get(value, 0)
        gap = max(gap, abs(sums[0] / totals[0] - sums[1] / totals[1]))
    return gap


def _with_interval(gap: float, mine: Measured, theirs: Measured) -> Estimate:
    """A gap is never below 0 nor above 1, and neither are the interval's ends."""
    below = [np.cumsum(one.lengths.resampled, axis=1) for one in (mine, theirs)]
    shares, others = (quotients(one, one[:, -1:]) for one in below)
    found = centred_interval(gap, np.abs(shares - others[::-1]).max(axis=1))
    if found.low is None or found.high is None:
        return found
    return Estimate(value=gap, low=max(0.0, found.low), high=min(1.0, found.high))


def _mean_ratio(mine: Measured, theirs: Measured) -> Estimate | None:
    """Resamples are paired in opposite orders: both datasets have drawn the same ones from the same seed."""
    means = [one.statistics.figures["user_words"].value for one in (mine, theirs)]
    if means[0] is None or not means[1]:
        return None
    return interval(means[0] / means[1], quotients(mine.user_words, theirs.user_words[::-1]))
