"""Segments and manifest: each record committed once, by whichever writer, whatever breaks off in between."""

from __future__ import annotations

import itertools
import os
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER, read_manifest, read_records, segment_path
from platolm.errors import OutputError
from platolm.segment_summary import SegmentSummary
from platolm.spec import OutputFormat
from platolm.storage import Place, open_place
from services.orchestrator.datasets.dataset_writer import Committed, DatasetWriter
from tests.conversation_records import record_json
from tests.unit.orchestrator.watched_place import WatchedPlace

SIZE = 40
_numbers = itertools.count()


def made(place: Place) -> Place:
    """A place with a run in it that has no records yet."""
    place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
    place.write(RUN_FILE, [b"{}"])
    return place


def memory() -> Place:
    return made(open_place(f"memory://dataset-{os.getpid()}-{next(_numbers)}"))


@pytest.fixture(params=["local", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return made(open_place(tmp_path)) if request.param == "local" else memory()


def writer_at(place: Place, **settings: Any) -> DatasetWriter:
    return DatasetWriter(place, conversations=SIZE, **settings)


def records(*indices: int) -> dict[int, str]:
    return {index: f'{{"index": {index}, "text": "é {index}"}}' for index in indices}


def indices_in(place: Place) -> list[int]:
    return [record["index"] for record in read_records(place)]


def num_segments(folder: Path) -> int:
    return len(os.listdir(folder / SEGMENTS_FOLDER))


def test_records_are_read_back_in_the_order_of_commitment(place: Place) -> None:
    writer = writer_at(place)
    assert writer.commit(records(2, 0)).num_records == 2
    assert writer.commit(records(1)).num_records == 1
    assert indices_in(place) == [0, 2, 1]
    assert [entry.number for entry in read_manifest(place)] == [1, 2]
    assert [entry.indices for entry in read_manifest(place, after=1)] == [[1]]


def test_what_is_committed_is_not_committed_again(place: Place) -> None:
    writer_at(place).commit(records(0, 1))
    restarted = writer_at(place)
    assert restarted.commit(records(1, 2)).num_records == 1
    assert restarted.commit(records(0, 1, 2)) == Committed()
    assert sorted(indices_in(place)) == [0, 1, 2]
    assert len(restarted.committed) == 3


@pytest.mark.parametrize("form", list(OutputFormat))
def test_an_entry_says_what_is_in_its_segment(place: Place, form: OutputFormat) -> None:
    writer_at(place, form=form).commit({index: record_json(index) for index in (3, 1)})
    [entry] = read_manifest(place)
    assert entry.summary == SegmentSummary.of(read_records(place))
    assert entry.summary.endings == {"turn_limit": 2}


def test_records_that_cannot_be_counted_are_committed(place: Place) -> None:
    assert writer_at(place).commit(records(0)).num_records == 1
    assert read_manifest(place)[0].summary is None


def test_parquet_segments(place: Place) -> None:
    writer_at(place, form=OutputFormat.PARQUET).commit({index: record_json(index) for index in (3, 1)})
    assert indices_in(place) == [1, 3]
    assert all(entry.segment.endswith(".parquet") for entry in read_manifest(place))


def test_of_two_writers_the_loser_reads_again(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    first, second = writer_at(place), writer_at(place)
    first.commit(records(0, 1))
    assert second.commit(records(1, 2)).num_records == 1
    assert first.commit(records(2, 3)).num_records == 1
    assert sorted(indices_in(place)) == [0, 1, 2, 3]
    assert num_segments(tmp_path) == 3


def batches() -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, 7), min_size=1)


@given(own=st.lists(batches(), max_size=3), others=st.lists(st.none() | st.tuples(st.booleans(), batches())))
def test_writers_that_meet_at_any_step(own: list[set[int]], others: list[tuple[bool, set[int]] | None]) -> None:
    """Before each step of one writer, none or one of two others commits something of the same run."""
    inner = memory()
    rivals = [writer_at(inner), writer_at(inner)]
    meetings = iter(others)

    def meet(_step: str) -> None:
        meeting = next(meetings, None)
        if meeting is not None:
            rivals[meeting[0]].commit(records(*meeting[1]))
            committed.update(meeting[1])

    committed: set[int] = set()
    writer = writer_at(WatchedPlace(inner, before=meet))
    for batch in own:
        writer.commit(records(*batch))
        committed |= batch
        assert all(index in writer.committed for index in batch)
    found = indices_in(inner)
    assert sorted(found) == sorted(committed)
    assert len(found) == len(set(found))


class PowerCut(BaseException):
    """The process ends here."""


def cut_at(number: int) -> Iterator[None]:
    yield from itertools.repeat(None, number)
    raise PowerCut


@pytest.mark.parametrize("number", range(7))
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_at_any_step_costs_nothing(number: int, when: str, tmp_path: Path) -> None:
    """Two batches; the first writer ends around its step `number`, the next one is given both again."""
    place = made(open_place(tmp_path))
    steps = cut_at(number)
    dying = WatchedPlace(place, **{when: lambda _step: next(steps)})
    batches = [records(0, 1), records(2)]
    commits = itertools.chain(batches, itertools.repeat({}))
    with pytest.raises(PowerCut):
        any(writer_at(dying).commit(batch).num_records < 0 for batch in commits)
    for batch in batches:
        writer_at(place).commit(batch)
    assert sorted(indices_in(place)) == [0, 1, 2]
    assert not [name for name in os.listdir(tmp_path / SEGMENTS_FOLDER) if name.endswith(".tmp")]


@pytest.mark.parametrize("lost", ["write", "create", "sync", "read"])
def test_an_answer_that_got_lost_costs_nothing(lost: str, tmp_path: Path) -> None:
    """The step was done, and its caller heard an error."""
    place = made(open_place(tmp_path))
    watched = WatchedPlace(place)
    writer = writer_at(watched)
    writer_at(place).commit(records(9))  # so that the writer has something to read

    def lose(step: str) -> None:
        if step == lost:
            watched.after = lambda _step: None
            raise OutputError("timed out")

    watched.after = lose
    with pytest.raises(OutputError, match="timed out"):
        writer.commit(records(0, 1))
    writer.commit(records(0, 1, 2))
    assert sorted(indices_in(place)) == [0, 1, 2, 9]
    named = {entry.segment for entry in read_manifest(place)}
    assert named <= set(os.listdir(tmp_path / SEGMENTS_FOLDER))


def test_what_was_written_before_a_failure_is_used_by_the_next_attempt(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    watched = WatchedPlace(place)
    writer = writer_at(watched)

    def fail(step: str) -> None:
        if step == "create":
            raise OutputError("disk full")

    watched.before = fail
    for _ in range(3):
        with pytest.raises(OutputError, match="disk full"):
            writer.commit(records(0, 1))
    assert num_segments(tmp_path) == 1
    watched.before = lambda _step: None
    assert writer.commit(records(0, 1)).num_records == 2
    assert num_segments(tmp_path) == 1


def test_what_others_committed_is_durable_before_it_is_relied_on(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    steps: list[str] = []
    writer_at(place).commit(records(0))
    writer_at(WatchedPlace(place, after=steps.append))
    assert steps[-1] == "sync"


def test_a_segment_without_a_manifest_entry_does_not_count(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    place.write(f"{SEGMENTS_FOLDER}/{'a' * 32}.jsonl.zst", [b"anything"])
    assert indices_in(place) == []
    assert writer_at(place).commit(records(0)).num_records == 1
    assert indices_in(place) == [0]


def test_a_full_disk_commits_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    place = made(open_place(tmp_path))
    writer = writer_at(place)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            writer.commit(records(0))
    assert indices_in(place) == []
    assert num_segments(tmp_path) == 0
    assert writer.commit(records(0)).num_records == 1


def test_a_place_without_the_run_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"run\.json is missing"):
        writer_at(open_place(tmp_path))


def test_a_damaged_manifest_entry_is_reported(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    writer_at(place).commit(records(0))
    (tmp_path / "manifest" / "00000001.json").write_text("{", encoding="utf-8")
    with pytest.raises(OutputError, match="damaged"):
        writer_at(place)


def test_an_entry_of_another_run_is_reported(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    writer_at(place).commit(records(SIZE - 1))
    with pytest.raises(OutputError, match=r"00000001\.json is damaged: there is no conversation 39 among 39"):
        DatasetWriter(place, conversations=SIZE - 1)


def test_segments_are_named_in_the_manifest(tmp_path: Path) -> None:
    place = made(open_place(tmp_path))
    committed = writer_at(place).commit(records(0))
    [entry] = read_manifest(place)
    assert segment_path(tmp_path, entry.segment).stat().st_size == entry.size_bytes == committed.size_bytes


def test_a_million_committed_conversations_take_little_memory() -> None:
    place = memory()
    tracemalloc.start()
    try:
        writer = DatasetWriter(place, conversations=1_000_000)
        writer.committed.update(range(1_000_000))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(writer.committed) == 1_000_000
    assert size < 200_000
