"""Paired bootstrap over dialogues: is one model's loss lower than another's on the same text?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """A difference with its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def excludes_zero(self) -> bool:
        return self.low > 0 or self.high < 0


def paired_difference(
    nats_a: Sequence[float],
    nats_b: Sequence[float],
    num_tokens: Sequence[int],
    *,
    num_samples: int = 10_000,
    seed: int = 125,
) -> Interval:
    """Token-weighted mean of `a - b` in nats a token, with the interval of resampled dialogues.

    Each sequence has one entry a dialogue: its summed nats under either model and its number of target tokens.
    """
    a, b = np.asarray(nats_a, dtype=float), np.asarray(nats_b, dtype=float)
    tokens = np.asarray(num_tokens, dtype=float)
    if not len(a) == len(b) == len(tokens) or not len(a):
        raise ValueError("give one entry a dialogue, the same dialogues for both models")
    generator = np.random.default_rng(seed)
    draws = generator.integers(0, len(a), size=(num_samples, len(a)))
    means = (a - b)[draws].sum(axis=1) / tokens[draws].sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Interval(float((a - b).sum() / tokens.sum()), float(low), float(high))
