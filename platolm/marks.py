"""What a person thinks of a conversation: good or bad, and a note. Kept beside the dataset, a small file for each.

A mark can be changed and taken back, records never change: so it lies at `marks/00000012.json`, named by the
conversation's index, and is joined with its record when the dataset is read or exported.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Sequence
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platolm.dataset import RUN_FILE
from platolm.errors import OutputError
from platolm.storage import Place

MARKS_FOLDER = "marks"
MAX_NOTE_CHARS = 2000

_FILE = re.compile(r"([0-9]{8,9})\.json")
_READ_TOGETHER = 64


class MarkValue(StrEnum):
    GOOD = "good"
    BAD = "bad"


class MarkRequest(BaseModel):
    """`PUT /v1/conversations/{id}/mark`: what is to be kept; nothing in both takes a mark back."""

    model_config = ConfigDict(extra="forbid")

    mark: MarkValue | None = None
    note: str | None = Field(None, max_length=MAX_NOTE_CHARS)


class Mark(BaseModel):
    """What is kept of one conversation."""

    model_config = ConfigDict(extra="ignore")

    mark: MarkValue | None = None
    note: str | None = None
    at: float = Field(description="when it was made, seconds since the epoch")

    @property
    def is_empty(self) -> bool:
        return self.mark is None and not self.note

    def exported(self) -> dict[str, str]:
        """The fields that an exported record gains: `mark` and `note`, where there is one."""
        said = {"mark": self.mark.value if self.mark else None, "note": self.note}
        return {name: value for name, value in said.items() if value}


def mark_name(index: int) -> str:
    """A mark's name below the dataset's folder."""
    return f"{MARKS_FOLDER}/{index:08d}.json"


def keep_mark(place: Place, index: int, wanted: MarkRequest) -> Mark:
    """Write a conversation's mark in place of the one it has, whole and durable; an empty one is removed.

    Raises:
        OutputError: the place cannot be written, or the run is not there: a disk that is not mounted looks empty.
    """
    if place.read(RUN_FILE) is None:
        raise OutputError(f"{place} does not hold the run: its {RUN_FILE} is missing")
    mark = Mark(mark=wanted.mark, note=wanted.note or None, at=time.time())
    if mark.is_empty:
        place.remove(mark_name(index))
    else:
        place.make(MARKS_FOLDER)
        place.write(mark_name(index), [mark.model_dump_json().encode()])
    return mark


def read_marks(place: Place, indices: Iterable[int]) -> dict[int, Mark]:
    """The marks of these conversations, those that have one.

    Raises:
        OutputError: one cannot be read.
    """
    asked = list(indices)
    found: dict[int, Mark] = {}
    for start in range(0, len(asked), _READ_TOGETHER):
        found |= _read(place, asked[start : start + _READ_TOGETHER])
    return found


def marked_indices(place: Place) -> list[int]:
    """Which conversations have a mark, by the files that are there.

    Raises:
        OutputError: the place does not answer.
    """
    names = (_FILE.fullmatch(name) for name in place.names(MARKS_FOLDER))
    return sorted(int(name[1]) for name in names if name is not None)


def _read(place: Place, indices: Sequence[int]) -> dict[int, Mark]:
    contents = place.read_many([mark_name(index) for index in indices])
    return {
        index: _parsed(f"{place}/{mark_name(index)}", content)
        for index, content in zip(indices, contents, strict=True)
        if content is not None
    }


def _parsed(name: str, content: bytes) -> Mark:
    try:
        return Mark.model_validate_json(content)
    except ValidationError as error:
        raise OutputError(f"{name} is damaged: remove it, or mark the conversation again") from error
