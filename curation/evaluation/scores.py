"""Scores by category and turn, each with a bootstrap interval over questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from curation.evaluation.journal import Row
from curation.evaluation.judging import UNRATED, TaskKey
from curation.evaluation.suites.suite import Question, QuestionId

RESAMPLES = 2000
CONFIDENCE = 0.95
_SEED = 0


@dataclass(frozen=True)
class Score:
    """One judged turn; `value` None: the judgment could not be read."""

    question_id: QuestionId
    category: str
    turn: int
    value: float | None


class Estimate(BaseModel):
    """A mean over `num_scores` judged turns, and its 95 % interval."""

    model_config = ConfigDict(extra="forbid")

    mean: float
    low: float
    high: float
    num_scores: int


class Breakdown(BaseModel):
    """One category, or all of them (`category` None): each turn, and all turns; None where nothing was scored."""

    model_config = ConfigDict(extra="forbid")

    category: str | None
    by_turn: dict[int, Estimate | None]
    overall: Estimate | None


class Scores(BaseModel):
    """`total` is over all questions, every judged turn counting alike; `unrated` judgments gave no score.

    Each of those is a question's id and a turn.
    """

    model_config = ConfigDict(extra="forbid")

    total: Breakdown
    categories: list[Breakdown]
    num_questions: int
    unrated: list[TaskKey]


def scores_of(questions: Sequence[Question], judgments: Mapping[TaskKey, Row], *, scale: float = 1.0) -> list[Score]:
    """The judged turns in the order of the questions, times `scale`."""
    return [
        Score(question.id, question.category, turn, _value(judgments[question.id, turn], scale))
        for question in questions
        for turn in range(1, len(question.turns) + 1)
        if (question.id, turn) in judgments
    ]


def _value(row: Row, scale: float) -> float | None:
    score = row.get("score")
    return None if score == UNRATED or not isinstance(score, int | float) else score * scale


def summarise(scores: Sequence[Score]) -> Scores:
    """Means and intervals; categories in alphabetical order."""
    turns = sorted({score.turn for score in scores})
    categories = sorted({score.category for score in scores})
    return Scores(
        total=_breakdown(None, scores, turns),
        categories=[
            _breakdown(category, [score for score in scores if score.category == category], turns)
            for category in categories
        ],
        num_questions=len({score.question_id for score in scores}),
        unrated=[(score.question_id, score.turn) for score in scores if score.value is None],
    )


def _breakdown(category: str | None, scores: Sequence[Score], turns: Sequence[int]) -> Breakdown:
    by_turn = {turn: estimate([score for score in scores if score.turn == turn]) for turn in turns}
    return Breakdown(category=category, by_turn=by_turn, overall=estimate(scores))


def estimate(scores: Sequence[Score]) -> Estimate | None:
    """The mean of all scores, and the percentile interval of it when questions, with all their turns, are resampled."""
    rated = [score for score in scores if score.value is not None]
    if not rated:
        return None
    sums, counts = _by_question(rated)
    chosen = np.random.default_rng(_SEED).integers(0, len(sums), size=(RESAMPLES, len(sums)))
    means = sums[chosen].sum(axis=1) / counts[chosen].sum(axis=1)
    tail = 100 * (1 - CONFIDENCE) / 2
    low, high = np.percentile(means, [tail, 100 - tail])
    mean = float(sums.sum() / counts.sum())
    return Estimate(mean=mean, low=float(low), high=float(high), num_scores=len(rated))


def _by_question(rated: Sequence[Score]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sum and number of the scores of each question: two arrays of one entry a question."""
    totals: dict[QuestionId, tuple[float, int]] = {}
    for score in rated:
        total, count = totals.get(score.question_id, (0.0, 0))
        totals[score.question_id] = total + (score.value or 0.0), count + 1
    pairs = np.array(list(totals.values()), dtype=np.float64)
    return pairs[:, 0], pairs[:, 1]
