"""What a suite is: its questions, how they are asked, how answers are judged, and what the paper says of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

QuestionId = int | str

DEFAULT_TEMPERATURE = 0.7


@dataclass(frozen=True)
class Question:
    """What the user says, turn after turn. `references` are answers to compare with, one for each turn, or none.

    `record` is the question as its file has it.
    """

    id: QuestionId
    category: str
    turns: tuple[str, ...]
    references: tuple[str, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)


class Judging(StrEnum):
    """How an answer becomes a number."""

    SINGLE = "single"
    """The judge rates each turn by itself, from 1 to 10."""
    PAIR = "pair"
    """The judge prefers this answer or the reference: 1, 0, or 0.5 for a draw."""


@dataclass(frozen=True)
class Published:
    """What the paper says of its model, on the scale that is shown; `by_turn` counts turns from 1."""

    model: str
    judge: str
    overall: float
    by_turn: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Suite:
    """One suite.

    `bench_name` is its folder in the suite's own layout, `num_questions` the size of its published set,
    `reference_categories` those whose answers are compared with a reference, `scale` what a score of the judge is
    multiplied with to be shown.
    """

    name: str
    bench_name: str
    judging: Judging
    num_questions: int
    max_tokens: int
    read_questions: Callable[[Path], list[Question]]
    temperatures: Mapping[str, float] = field(default_factory=dict)
    reference_categories: frozenset[str] = frozenset()
    published: Published | None = None
    scale: float = 1.0

    def temperature(self, question: Question) -> float:
        """The suite's own for a question: what the question requires, its category's, or 0.7."""
        required = question.record.get("required_temperature")
        if isinstance(required, int | float):
            return float(required)
        return self.temperatures.get(question.category, DEFAULT_TEMPERATURE)
