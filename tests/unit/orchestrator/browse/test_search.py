"""Pages of a dataset: what a scan of all records would find, in the order of commitment, opening what is needed."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.browse_api import MarkFilter, RecordPage, RecordSummary
from platolm.dataset import SEGMENTS_FOLDER
from platolm.errors import OutputError
from platolm.marks import MarkRequest, MarkValue, keep_mark
from platolm.spec import OutputFormat
from platolm.storage import Place, open_place
from services.orchestrator.browse.search import Search, Wanted
from services.orchestrator.datasets.run_place import RunPlace
from tests.browsed_dataset import dataset, forget_summaries, run_place, said

_numbers = itertools.count()
NEVER = 1e9

BATCHES = [
    [said(3, "How is basil?", "Fine."), said(5, "Hello", "Good day", "Bye", "Bye", ending="user_ended")],
    [said(0, "Wie groß?", "GROSS!", ending="user_ended")],
    [
        said(1, "One more", "", ending="empty"),
        said(2, "Basil again", "Yes", "And?", "No", "So", "Ok"),
        said(4, "?", "!"),
    ],
]
ORDER = [3, 5, 0, 1, 2, 4]


def memory() -> Place:
    return open_place(f"memory://browse-{os.getpid()}-{next(_numbers)}")


@pytest.fixture(params=list(OutputFormat))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> RunPlace:
    return dataset(open_place(tmp_path), BATCHES, form=OutputFormat(request.param))


def every(
    place: RunPlace, *, limit: int = 50, start: int = 0, looks_for_s: float = NEVER, **wanted: Any
) -> list[RecordSummary]:
    """All pages together."""
    found: list[RecordSummary] = []
    at: str | None = str(start)
    searched = 0
    while at is not None:
        page = Search(place, Wanted(**wanted), looks_for_s=looks_for_s).page(int(at), limit)
        assert len(page.records) <= limit
        assert searched <= page.searched <= page.total
        assert page.next_cursor is None or int(page.next_cursor) > int(at)
        found += page.records
        at, searched = page.next_cursor, page.searched
    assert searched == page.total
    return found


def indices(records: list[RecordSummary]) -> list[int]:
    return [record.index for record in records]


def notes(records: list[RecordSummary]) -> list[str | None]:
    return [record.mark.note if record.mark is not None else None for record in records]


@pytest.mark.parametrize("limit", [1, 2, 5, 50])
def test_all_records_in_the_order_of_commitment(place: RunPlace, limit: int) -> None:
    found = every(place, limit=limit)
    assert indices(found) == ORDER
    assert [record.position for record in found] == list(range(6))
    assert found[1].model_dump() == {
        "id": "run-a-00000005",
        "index": 5,
        "position": 1,
        "termination_reason": "user_ended",
        "num_rounds": 2,
        "num_tokens": 12,
        "opening": "Hello",
        "snippet": None,
        "mark": None,
    }


@pytest.mark.parametrize("start", range(8))
def test_a_page_begins_anywhere(place: RunPlace, start: int) -> None:
    page = Search(place, Wanted()).page(start, 2)
    assert indices(page.records) == ORDER[start : start + 2]
    assert page.next_cursor == (str(start + 2) if start + 2 < 6 else None)
    assert (page.searched, page.total) == (min(6, start + 2), 6)


def test_nothing_committed_yet() -> None:
    page = Search(dataset(memory(), []), Wanted(text="a", ending="empty")).page(0, 10)
    assert page == RecordPage(records=[], next_cursor=None, searched=0, total=0)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({"text": "BASIL"}, [3, 2]),
        ({"text": "gross"}, [0]),
        ({"text": "Groß"}, [0]),
        ({"text": "human"}, []),
        ({"text": "run-a"}, []),
        ({"text": "user_ended"}, []),
        ({"text": "?"}, [3, 0, 2, 4]),
        ({"ending": "user_ended"}, [5, 0]),
        ({"ending": "error"}, []),
        ({"min_rounds": 2}, [5, 2]),
        ({"max_rounds": 1}, [3, 0, 1, 4]),
        ({"min_rounds": 2, "max_rounds": 2}, [5]),
        ({"min_rounds": 3, "max_rounds": 2}, []),
        ({"text": "basil", "min_rounds": 2}, [2]),
        ({"text": "o", "ending": "empty"}, [1]),
    ],
)
@pytest.mark.parametrize("limit", [1, 50])
def test_what_is_asked_for(place: RunPlace, wanted: dict[str, Any], expected: list[int], limit: int) -> None:
    assert indices(every(place, limit=limit, **wanted)) == expected
    assert indices(every(place, limit=limit, looks_for_s=0.0, **wanted)) == expected
    forget_summaries(place.place)
    assert indices(every(run_place(place.place), limit=limit, looks_for_s=0.0, **wanted)) == expected


def test_the_first_match_is_shown(place: RunPlace) -> None:
    snippets = [record.snippet for record in every(place, text="bye")]
    assert [snippet and snippet.model_dump() for snippet in snippets] == [
        {"role": "user", "turn_index": 2, "before": "", "match": "Bye", "after": ""}
    ]
    [found] = every(place, text="SS!")
    assert found.snippet is not None
    assert (found.snippet.role, found.snippet.turn_index, found.snippet.before) == ("assistant", 1, "GRO")


def test_marks(place: RunPlace) -> None:
    for index, value in [(4, "good"), (5, "bad"), (3, "good"), (999, "good")]:
        keep_mark(place.place, index, MarkRequest(mark=MarkValue(value), note=f"of {index}"))
    keep_mark(place.place, 0, MarkRequest(note="only a note"))
    for looks_for_s in (NEVER, 0.0):
        marked = {value: indices(every(place, mark=value, looks_for_s=looks_for_s)) for value in MarkFilter}
        assert marked == {MarkFilter.GOOD: [3, 4], MarkFilter.BAD: [5], MarkFilter.ANY: [3, 5, 4]}
    assert indices(every(place, mark=MarkFilter.ANY, text="basil")) == [3]
    assert [record.mark and record.mark.note for record in every(place)] == [
        "of 3",
        "of 5",
        "only a note",
        None,
        None,
        "of 4",
    ]
    assert [record.mark and record.mark.note for record in every(place, mark=MarkFilter.BAD)] == ["of 5"]


WORDS = st.sampled_from(
    ["basil", "Basil", "ß", "SS", "ſs", "\u212a", "k", "é", "É", "你好", '"', "\\", "\n", " ", "\u2028", "u"]
)
TEXTS = st.lists(WORDS, max_size=4).map("".join)
TALKS = st.tuples(st.lists(TEXTS, min_size=2, max_size=6), st.sampled_from(["empty", "error", "user_ended"]))


@given(
    batches=st.lists(st.lists(TALKS, min_size=1, max_size=4), max_size=4),
    text=st.none() | st.lists(WORDS, min_size=1, max_size=2).map("".join),
    ending=st.none() | st.sampled_from(["empty", "error"]),
    rounds=st.tuples(st.integers(0, 3), st.none() | st.integers(0, 3)),
    start=st.integers(0, 6),
    limit=st.integers(1, 5),
    is_ascii=st.booleans(),
    is_old=st.booleans(),
    looks_for_s=st.sampled_from([0.0, NEVER]),
)
def test_a_search_finds_what_a_scan_finds(
    batches: list[list[tuple[list[str], str]]],
    text: str | None,
    ending: str | None,
    rounds: tuple[int, int | None],
    start: int,
    limit: int,
    is_ascii: bool,
    is_old: bool,
    looks_for_s: float,
) -> None:
    numbers = itertools.count()
    written = [[said(next(numbers), *texts, ending=reason) for texts, reason in batch] for batch in batches]
    place = dataset(memory(), written, is_ascii=is_ascii)
    if is_old:
        forget_summaries(place.place)
    found = every(
        place, limit=limit, start=start, looks_for_s=looks_for_s,
        text=text, ending=ending, min_rounds=rounds[0], max_rounds=rounds[1],
    )  # fmt: skip
    scanned = [
        record["index"]
        for record in [record for batch in written for record in batch][start:]
        if ending in (None, record["termination_reason"])
        and rounds[0] <= record["num_rounds"] <= (9 if rounds[1] is None else rounds[1])
        and (text is None or any(text.casefold() in turn["value"].casefold() for turn in record["conversations"]))
    ]
    assert indices(found) == scanned


def test_segments_without_a_match_in_their_summary_are_not_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    place = dataset(open_place(tmp_path), BATCHES)
    plain = place.place.open

    def remembered(name: str) -> BinaryIO | None:
        opened.append(name)
        return plain(name)

    monkeypatch.setattr(place.place, "open", remembered)
    assert indices(every(place, ending="empty", text="more")) == [1]
    assert indices(every(place, min_rounds=3)) == [2]
    assert every(place, ending="error") == []
    assert indices(every(place, start=3)) == [1, 2, 4]
    assert len(opened) == 3
    keep_mark(place.place, 0, MarkRequest(mark=MarkValue.BAD))
    opened.clear()
    assert indices(every(place, mark=MarkFilter.ANY)) == [0]
    assert (len(opened), every(place, mark=MarkFilter.GOOD), len(opened)) == (1, [], 1)


def test_a_request_without_time_looks_at_one_piece(tmp_path: Path) -> None:
    place = dataset(open_place(tmp_path), BATCHES)
    page = Search(place, Wanted(text="nowhere"), looks_for_s=0.0).page(0, 10)
    assert page == RecordPage(records=[], next_cursor="2", searched=2, total=6)


def test_what_is_committed_later_is_found(tmp_path: Path) -> None:
    place = dataset(open_place(tmp_path), BATCHES[:1])
    assert indices(every(place)) == [3, 5]
    dataset(place.place, BATCHES[1:])
    assert indices(every(place, start=2)) == [0, 1, 2, 4]


def test_a_missing_segment_is_named(tmp_path: Path) -> None:
    place = dataset(open_place(tmp_path), BATCHES)
    for segment in (tmp_path / SEGMENTS_FOLDER).iterdir():
        segment.unlink()
    with pytest.raises(OutputError, match="is missing, but the manifest names it"):
        Search(place, Wanted()).page(0, 1)


def test_memory_holds_a_piece_of_a_segment(tmp_path: Path) -> None:
    records = [said(index, *[f"{number}" * 60 for number in range(64)]) for index in range(900)]
    place = dataset(open_place(tmp_path), [records])
    size = sum(len(turn["value"]) for record in records for turn in record["conversations"])
    assert size > 6_000_000
    Search(place, Wanted()).page(0, 1)
    tracemalloc.start()
    try:
        assert every(place, text="nowhere at all") == []
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3_000_000
