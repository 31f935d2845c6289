"""The paired bootstrap tells a real difference from chance."""

from __future__ import annotations

import numpy as np
import pytest

from training.bootstrap import paired_difference


def test_the_difference_is_weighted_by_tokens() -> None:
    interval = paired_difference([10.0, 100.0], [20.0, 100.0], [10, 90])
    assert interval.mean == pytest.approx(-0.1)


def test_a_steady_difference_excludes_zero_although_dialogues_vary_more() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(400, 100, size=200)
    ours = base - 5 + generator.normal(0, 5, size=200)
    ahead = paired_difference(ours.tolist(), base.tolist(), [100] * 200)
    assert ahead.low < -0.05 < ahead.high < 0
    assert ahead.excludes_zero


def test_noise_includes_zero() -> None:
    generator = np.random.default_rng(0)
    base = generator.normal(400, 100, size=200)
    other = base + generator.normal(0, 5, size=200)
    assert not paired_difference(other.tolist(), base.tolist(), [100] * 200).excludes_zero


def test_the_interval_is_the_same_each_time() -> None:
    arguments = ([1.0, 2.0, 4.0], [2.0, 2.5, 3.0], [3, 4, 5])
    assert paired_difference(*arguments) == paired_difference(*arguments)


def test_unpaired_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="one entry a dialogue"):
        paired_difference([1.0], [1.0, 2.0], [3, 4])
    with pytest.raises(ValueError, match="one entry a dialogue"):
        paired_difference([], [], [])
