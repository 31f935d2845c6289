"""What a person thinks of conversations, kept beside their dataset."""

from __future__ import annotations

import itertools
import os
import time
from pathlib import Path

import pytest

from platolm.dataset import RUN_FILE
from platolm.errors import OutputError
from platolm.marks import (
    MARKS_FOLDER,
    MarkRequest,
    MarkValue,
    keep_mark,
    mark_name,
    marked_indices,
    read_marks,
)
from platolm.storage import Place, open_place

GOOD = MarkRequest(mark=MarkValue.GOOD, note="both sides\nkeep to it ✓")
BAD = MarkRequest(mark=MarkValue.BAD)
_numbers = itertools.count()


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    name = f"memory://marks-{os.getpid()}-{next(_numbers)}"
    place = open_place(tmp_path if request.param == "local" else name)
    place.make()
    place.write(RUN_FILE, [b"{}"])
    return place


def test_a_mark_is_kept_changed_and_taken_back(place: Place) -> None:
    assert marked_indices(place) == []
    before = time.time()
    kept = keep_mark(place, 12, GOOD)
    assert (kept.mark, kept.note) == (MarkValue.GOOD, GOOD.note)
    assert before <= kept.at <= time.time()
    assert mark_name(12) == "marks/00000012.json"
    assert read_marks(place, [11, 12]) == {12: kept}
    changed = keep_mark(place, 12, BAD)
    assert read_marks(place, [12]) == {12: changed}
    assert (changed.mark, changed.note) == (MarkValue.BAD, None)
    assert keep_mark(place, 12, MarkRequest()).is_empty
    assert (read_marks(place, [12]), marked_indices(place)) == ({}, [])
    keep_mark(place, 12, MarkRequest())


def test_a_note_alone_is_kept(place: Place) -> None:
    assert keep_mark(place, 3, MarkRequest(note="look again")).exported() == {"note": "look again"}
    assert read_marks(place, [3])[3].mark is None


def test_which_conversations_have_one(place: Place) -> None:
    for index in (7, 100_000_000, 0):
        keep_mark(place, index, BAD)
    place.write(f"{MARKS_FOLDER}/{'readme'}.txt", [b"not a mark"])
    assert marked_indices(place) == [0, 7, 100_000_000]
    assert sorted(read_marks(place, range(200))) == [0, 7]


def test_a_damaged_mark_is_named(place: Place) -> None:
    keep_mark(place, 5, GOOD)
    place.write(mark_name(5), [b'{"mark": "fine"}'])
    with pytest.raises(OutputError, match=r"marks/00000005\.json is damaged: remove it"):
        read_marks(place, [5])


def test_a_place_that_went_away_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"run\.json is missing"):
        keep_mark(open_place(tmp_path / "gone"), 1, GOOD)
    assert not (tmp_path / "gone").exists()
