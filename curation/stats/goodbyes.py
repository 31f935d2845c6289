"""Where a run's own records tell whether a goodbye was right, and which threshold would have been best.

A conversation of people that a run continues (`seed_mode: continue`) sets the simulator at a place where the person
left, or went on: that is `seed_ended`. What the simulator said next is its prediction. Further on, nobody knows better.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

from pydantic import BaseModel

from curation.dialogue import Dialogue
from platolm.conversation import USER
from platolm.endings import FinishReason
from platolm.goodbyes import is_goodbye
from platolm.simulators.cleaning import End

THRESHOLDS = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.75,
    0.8, 0.85, 0.9, 0.95, 0.98, 0.99, 0.995, 0.998, 0.999,
)  # fmt: skip
"""Probabilities that are tried; a finer grid would promise more than the data can keep."""

_SAID = len(THRESHOLDS) + 1
"""The bin of goodbyes that the simulator said: no threshold takes them back."""


@dataclass(frozen=True, slots=True)
class Decision:
    """One place where the user may leave.

    `said`: the simulator said goodbye itself. `probability`: how likely it was to, where the record tells.
    """

    predicted: bool
    actual: bool
    said: bool
    probability: float | None


def decision_of(fields: Mapping[str, Any]) -> Decision | None:
    """What a record of a continued conversation shows; None where the simulator was not asked, or nobody knows."""
    turns, actual = fields.get("turns"), fields.get("seed_ended")
    if not isinstance(turns, list) or not isinstance(actual, bool):
        return None
    turns = list(takewhile(lambda turn: isinstance(turn, Mapping), turns))
    at = sum(1 for _ in takewhile(lambda turn: turn.get("finish_reason") == FinishReason.SEED, turns))
    predicted = fields.get("goodbye_at") == at
    turn = turns[at] if at < len(turns) else {}
    if not at or at % 2 or not (predicted or turn):
        return None
    end, probability = fields.get("goodbye_end"), turn.get("goodbye_probability")
    is_known = isinstance(probability, int | float) and not isinstance(probability, bool)
    return Decision(predicted, actual, predicted and end in (End.MARKER, End.BLANK), probability if is_known else None)


def goodbyes_tried(dialogue: Dialogue) -> tuple[int, int]:
    """Whether the record shows what the user said after its goodbye, and whether it then said more than goodbye."""
    turns, at = dialogue.fields.get("turns"), dialogue.fields.get("goodbye_at")
    if not isinstance(turns, list) or len(turns) != len(dialogue.messages) or not isinstance(at, int):
        return 0, 0
    said = zip(dialogue.messages[at + 1 :], turns[at + 1 :], strict=True)
    after = [(one.content, turn) for one, turn in said if one.role == USER]
    more = [text for text, turn in after if text.strip() and not is_goodbye(text) and not _is_end(turn)]
    return bool(after), bool(more)


def _is_end(turn: Any) -> bool:
    return isinstance(turn, Mapping) and turn.get("end") is not None


class ThresholdRow(BaseModel):
    """What a threshold would have made of the decisions; None: the simulator's own goodbyes alone."""

    threshold: float | None
    predicted: int
    hit: int
    actual: int

    @property
    def precision(self) -> float | None:
        return self.hit / self.predicted if self.predicted else None

    @property
    def recall(self) -> float | None:
        return self.hit / self.actual if self.actual else None

    @property
    def f1(self) -> float | None:
        total = self.predicted + self.actual
        return 2 * self.hit / total if total else None


@dataclass
class GoodbyeCounts:
    """Decisions by the highest threshold that would have taken them for a goodbye; parts can be merged."""

    actual: Counter[int] = field(default_factory=Counter)
    others: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    """Decisions of which the record does not tell the probability."""

    def add(self, decision: Decision) -> None:
        """Count a decision."""
        if decision.probability is None and not decision.said:
            self.unknown += 1
            return
        place = _SAID if decision.said else bisect_right(THRESHOLDS, decision.probability or 0.0)
        (self.actual if decision.actual else self.others)[place] += 1

    def merge(self, other: GoodbyeCounts) -> None:
        """Count another part's too."""
        self.actual += other.actual
        self.others += other.others
        self.unknown += other.unknown

    def rows(self) -> list[ThresholdRow]:
        """Each threshold from the highest on, the simulator's own goodbyes first.

        None of them where no probability is known, or where everybody left or nobody did: nothing is to be told apart.
        """
        has_probabilities = any(place != _SAID for counts in (self.actual, self.others) for place in counts)
        if not (has_probabilities and self.actual.total() and self.others.total()):
            return []
        return [self._row(threshold, place) for place, threshold in _PLACES]

    def _row(self, threshold: float | None, place: int) -> ThresholdRow:
        hit, false = (sum(counts[at] for at in counts if at >= place) for counts in (self.actual, self.others))
        return ThresholdRow(threshold=threshold, predicted=hit + false, hit=hit, actual=self.actual.total())


def best_row(rows: list[ThresholdRow]) -> ThresholdRow:
    """The one with the highest F1, the highest threshold among equals."""
    return max(rows, key=lambda row: row.f1 or 0.0)


_PLACES: list[tuple[int, float | None]] = [(_SAID, None)]
_PLACES += [(place, THRESHOLDS[place - 1]) for place in range(len(THRESHOLDS), 0, -1)]
