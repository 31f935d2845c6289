"""Which dialogues are handed on: by rounds, by how they ended, by what a person thought of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from curation.dialogue import Dialogue
from platolm.browse_api import MarkFilter
from platolm.dataset import RUN_FILE
from platolm.marks import Mark, MarkValue, marked_indices, read_marks
from platolm.storage import LocalPlace


class Unwanted(StrEnum):
    """Why a filter leaves a dialogue out."""

    FEW_ROUNDS = "too few rounds"
    OTHER_ENDING = "ended otherwise"
    NOT_MARKED = "not marked so"


@dataclass(frozen=True)
class Filters:
    """What is wanted; the defaults want everything."""

    min_rounds: int = 0
    endings: frozenset[str] = frozenset()
    mark: MarkFilter | None = None

    def refusal(self, dialogue: Dialogue, num_rounds: int, mark: Mark | None) -> Unwanted | None:
        """Why a dialogue is not wanted; None where it is."""
        if num_rounds < self.min_rounds:
            return Unwanted.FEW_ROUNDS
        if self.endings and dialogue.fields.get("termination_reason") not in self.endings:
            return Unwanted.OTHER_ENDING
        if self.mark is not None and (mark is None or not self.mark.takes(mark)):
            return Unwanted.NOT_MARKED
        return None


def marks_of(path: Path) -> Mapping[int, Mark]:
    """What people marked in a run's dataset folder, by index; nothing where the path is something else.

    Raises:
        OutputError: a mark cannot be read.
    """
    if not (path / RUN_FILE).is_file():
        return {}
    place = LocalPlace(path)
    return read_marks(place, marked_indices(place))


def mark_of(dialogue: Dialogue, marks: Mapping[int, Mark]) -> Mark | None:
    """A dialogue's mark: from the folder it lies in, or in its record, as the API's export has it."""
    index = dialogue.fields.get("index")
    if isinstance(index, int) and index in marks:
        return marks[index]
    value = dialogue.fields.get("mark")
    return Mark(mark=MarkValue(value), at=0.0) if value in list(MarkValue) else None
