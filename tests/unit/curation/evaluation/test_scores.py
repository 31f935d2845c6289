"""Means and intervals by category and turn."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.stats import bootstrap

from curation.evaluation.scores import Score, estimate, scores_of, summarise
from curation.evaluation.suites.suite import Question

QUESTIONS = [
    Question(81, "writing", ("a", "b")),
    Question(111, "math", ("a", "b")),
    Question(112, "math", ("a", "b")),
]


def judgments(*rows: tuple[int, int, float]) -> dict[tuple[int | str, int], dict[str, Any]]:
    return {(question_id, turn): {"score": score} for question_id, turn, score in rows}


def test_every_turn_counts_alike_and_unread_judgments_count_nowhere() -> None:
    found = judgments((81, 1, 9), (81, 2, 7), (111, 1, 4), (111, 2, -1), (112, 1, 1), (112, 2, 2))
    scores = summarise(scores_of(QUESTIONS, found))
    assert scores.total.overall is not None
    assert scores.total.overall.mean == (9 + 7 + 4 + 1 + 2) / 5
    assert scores.total.overall.num_scores == 5
    assert scores.unrated == [(111, 2)]
    assert scores.num_questions == 3
    means = {
        breakdown.category: [estimated.mean if estimated else None for estimated in breakdown.by_turn.values()]
        for breakdown in [*scores.categories, scores.total]
    }
    assert means == {"math": [2.5, 2.0], "writing": [9.0, 7.0], None: [14 / 3, 4.5]}


def test_a_category_without_any_score_is_shown_as_such() -> None:
    scores = summarise(scores_of(QUESTIONS, judgments((81, 1, 9), (111, 1, -1))))
    assert [(one.category, one.overall is None) for one in scores.categories] == [("math", True), ("writing", False)]


def test_nothing_judged() -> None:
    scores = summarise([])
    assert scores.total.overall is None
    assert scores.categories == []


def test_the_scale() -> None:
    scores = scores_of([Question(1, "koala", ("a",))], judgments((1, 1, 0.5)), scale=100.0)
    assert [score.value for score in scores] == [50.0]


def test_intervals_are_those_of_scipy_where_each_question_has_one_score() -> None:
    values = np.random.default_rng(5).uniform(1, 10, size=60)
    ours = estimate([Score(number, "any", 1, float(value)) for number, value in enumerate(values)])
    theirs = bootstrap(
        (values,), np.mean, method="percentile", n_resamples=20_000, rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours is not None
    assert ours.mean == pytest.approx(values.mean())
    assert ours.low == pytest.approx(theirs.low, abs=0.08)
    assert ours.high == pytest.approx(theirs.high, abs=0.08)


def test_the_turns_of_a_question_are_resampled_together() -> None:
    """Two equal turns tell no more than one: the interval is as wide."""
    values = [1.0, 10.0, 4.0, 6.0, 8.0, 2.0]
    once = estimate([Score(number, "any", 1, value) for number, value in enumerate(values)])
    twice = estimate([Score(number, "any", turn, value) for number, value in enumerate(values) for turn in (1, 2)])
    assert once is not None
    assert twice is not None
    assert (twice.mean, twice.low, twice.high) == pytest.approx((once.mean, once.low, once.high))


def test_the_same_scores_give_the_same_interval() -> None:
    scores = [Score(number, "any", 1, float(number % 7)) for number in range(30)]
    assert estimate(scores) == estimate(scores)
