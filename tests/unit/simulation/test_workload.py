"""Lengths of conversations."""

from __future__ import annotations

import numpy as np
import pytest

from simulation.workload import Lengths, drawn


def test_equal_ones_are_equal() -> None:
    made = drawn(Lengths(user_tokens=10, assistant_tokens=20, max_utterances=4), 3)
    assert made.num_conversations == 3
    assert made.tokens.tolist() == [10, 20, 10, 20] * 3
    assert made.requests(1, 0) == [(32.0, 10.0), (32 + 10 + 20 + 8.0, 10.0)]
    assert made.requests(1, 1) == [(32 + 10 + 4.0, 20.0), (32 + 40 + 12.0, 20.0)]


def test_they_end_where_the_context_is_full() -> None:
    lengths = Lengths(user_tokens=100, assistant_tokens=100, max_utterances=30, context_tokens=500)
    made = drawn(lengths, 4)
    assert np.diff(made.first).tolist() == [4] * 4


def test_mixed_ones_have_the_means_asked_for_and_are_the_same_again() -> None:
    lengths = Lengths(spread=0.5, ends_one_in=4, max_utterances=100, max_tokens=1000, context_tokens=100_000)
    made, again = drawn(lengths, 20_000, seed=3), drawn(lengths, 20_000, seed=3)
    assert np.array_equal(made.tokens, again.tokens)
    assert np.diff(made.first).mean() == pytest.approx(8, rel=0.05)
    starts = made.first[:-1]
    assert made.tokens[starts].mean() == pytest.approx(24, rel=0.05)
    assert made.tokens[starts + 1].mean() == pytest.approx(64, rel=0.05)
