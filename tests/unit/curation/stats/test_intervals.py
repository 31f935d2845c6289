"""The bootstrap: its weights, its sums, and that its intervals are those of drawing with replacement."""

from __future__ import annotations

import numpy as np
import pytest

from curation.stats.intervals import Estimate, ResampledSums, centred_interval, interval, weights
from tests.unit.curation.stats.records import ends

ABOVE, BELOW = np.array([1.0, 0.0]), np.array([0.0, 1.0])


def sums_of(rows: list[list[float]], where: tuple[int, ...] = (1,)) -> ResampledSums:
    sums = ResampledSums(2)
    sums.add(np.array(rows, dtype=float), weights(where, len(rows)))
    return sums


def test_weights_are_poisson_of_mean_one() -> None:
    times = weights((7,), 500)
    assert times.shape == (1000, 500)
    assert times.mean() == pytest.approx(1, abs=0.01)
    assert times.var() == pytest.approx(1, abs=0.02)
    assert (times == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    assert (times == 3).mean() == pytest.approx(np.exp(-1) / 6, abs=0.005)


def test_weights_depend_on_their_name_alone() -> None:
    assert (weights((7, 1), 20) == weights((7, 1), 20)).all()
    assert (weights((7, 1), 20) != weights((7, 2), 20)).any()


def test_a_ratio_is_of_the_sums() -> None:
    found = sums_of([[1, 2], [3, 2], [5, 4]]).ratio(ABOVE, BELOW, scale=100)
    assert found is not None
    assert found.value == pytest.approx(100 * 9 / 8)
    low, high = ends(found)
    assert low < found.value < high


def test_nothing_to_divide_by_is_no_estimate() -> None:
    assert sums_of([[1, 0], [3, 0]]).ratio(ABOVE, BELOW) is None


def test_equal_conversations_leave_no_doubt() -> None:
    assert sums_of([[2, 4]] * 9).ratio(ABOVE, BELOW) == Estimate(value=0.5, low=0.5, high=0.5)


def test_merged_parts_are_the_whole() -> None:
    one, other = [[1.0, 2.0], [4.0, 8.0]], [[3.0, 1.0]]
    merged = sums_of(one, (1, 0))
    merged.merge(sums_of(other, (1, 1)))
    times = np.hstack([weights((1, 0), 2), weights((1, 1), 1)])
    whole = ResampledSums(2)
    whole.add(np.array(one + other), times)
    assert merged.totals.tolist() == whole.totals.tolist() == [8.0, 11.0]
    assert np.allclose(merged.resampled, whole.resampled)


def test_the_interval_is_that_of_drawing_with_replacement() -> None:
    generator = np.random.default_rng(3)
    rows = np.stack([generator.lognormal(3, 1, 400), generator.integers(1, 9, 400)], axis=1)
    found = sums_of(rows.tolist()).ratio(ABOVE, BELOW)
    draws = generator.integers(0, 400, (4000, 400))
    sampled = rows[draws].sum(axis=1)
    low, high = np.quantile(sampled[:, 0] / sampled[:, 1], (0.025, 0.975))
    assert ends(found) == pytest.approx((low, high), rel=0.03)


def test_resamples_over_pairs_are_centred_on_the_figure() -> None:
    resampled = np.linspace(10, 20, 1001)
    assert centred_interval(3.0, resampled).model_dump() == pytest.approx({"value": 3, "low": -1.75, "high": 7.75})


def test_without_resamples_the_figure_stands_alone() -> None:
    nothing = np.full(1000, np.nan)
    for resampled in (np.array([]), nothing):
        assert interval(3.0, resampled) == centred_interval(3.0, resampled) == Estimate(value=3.0)


def test_one_conversation_has_no_interval_two_have_one() -> None:
    assert sums_of([[3, 2]]).ratio(ABOVE, BELOW) == Estimate(value=1.5)
    assert sums_of([[3, 2], [0, 0], [0, 0]]).ratio(ABOVE, BELOW) == Estimate(value=1.5)
    assert ends(sums_of([[3, 2], [1, 2]]).ratio(ABOVE, BELOW)) == (0.5, 1.5)


def test_an_estimate_in_another_unit() -> None:
    assert Estimate(value=0.5, low=0.25, high=1).scaled(100) == Estimate(value=50, low=25, high=100)
    assert Estimate(value=0.5).scaled(100) == Estimate(value=50)
