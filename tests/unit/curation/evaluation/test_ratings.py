"""A judge's words as a number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.evaluation.ratings import preference_of, rating_of


@pytest.mark.parametrize(
    ("judgment", "rating"),
    [
        ("It is right.\n[[7]]", 7.0),
        ("Rating: [[8.5]]", 8.5),
        ("Rating: [6]", 6.0),
        ("as in [3], the rating is [[9]]", 9.0),
        ("[[4]] at first, then [[9]]", 4.0),
        ("[[10]]", 10.0),
        ("[[0]]", None),
        ("[[85]]", None),
        ("seven", None),
        ("[[seven]]", None),
        ("", None),
    ],
)
def test_ratings(judgment: str, rating: float | None) -> None:
    assert rating_of(judgment) == rating


@pytest.mark.parametrize(
    ("judgment", "preference"),
    [
        ("[{'model': 'model_1', 'rank': 1}, {'model': 'model_2', 'rank': 2}]", 1.0),
        ("[{'model': 'model_1', 'rank': 2}, {'model': 'model_2', 'rank': 1}]", 0.0),
        ('\n[{"model": "model_2", "rank": 1}, {"model": "model_1", "rank": 2}]\n', 0.0),
        ("[{'model': 'model_1', 'rank': 3}]", None),
        ("[{'model': 'model_1'}]", None),
        ("[]", None),
        ("A is terse.\n[[A]]", 1.0),
        ("[[B]]", 0.0),
        ("[[C]]", 0.5),
        ("[[A]] seems better, but no: [[B]]", 0.0),
        ("[[D]]", None),
        ("A", None),
    ],
)
def test_preferences(judgment: str, preference: float | None) -> None:
    assert preference_of(judgment) == preference


@given(st.text() | st.text(alphabet="[]{}'\"AB0123456789., model_1rank:\\\n", max_size=60))
def test_nothing_that_a_judge_says_is_a_crash(judgment: str) -> None:
    assert rating_of(judgment) is None or 1 <= (rating_of(judgment) or 0) <= 10
    assert preference_of(judgment) in (None, 0.0, 0.5, 1.0)
