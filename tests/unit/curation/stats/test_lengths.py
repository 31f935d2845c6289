"""How far lengths are apart, against scipy."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ecdf

from curation.stats.figures import LENGTH_CAP
from curation.stats.lengths import LENGTH_BINS, kolmogorov_smirnov, length_rows

VALUES = st.lists(st.integers(0, 20), min_size=1, max_size=40)


@settings(deadline=None)
@given(VALUES, VALUES)
def test_it_is_scipys(one: list[int], other: list[int]) -> None:
    at = np.arange(21)
    expected = np.abs(ecdf(one).cdf.evaluate(at) - ecdf(other).cdf.evaluate(at)).max()
    assert kolmogorov_smirnov(Counter(one), Counter(other)) == pytest.approx(expected)


def test_without_turns_there_is_no_distance() -> None:
    assert kolmogorov_smirnov({}, {3: 1}) is None
    assert kolmogorov_smirnov({3: 1}, {}) is None


def test_each_length_is_counted_in_its_bin() -> None:
    found = length_rows([[0, 1, 2], [], [10**9, LENGTH_CAP]])
    assert found.sum(axis=1).tolist() == [3, 0, 2]
    assert found[0, :2].tolist() == [2, 1]
    assert found[2, -1] == 2
    assert LENGTH_BINS[-1] == LENGTH_CAP
    assert length_rows([]).shape == (0, len(LENGTH_BINS))
    assert not length_rows([[], []]).any()
