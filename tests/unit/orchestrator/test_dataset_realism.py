"""What a writer knows of the user: each conversation once, whoever committed it and whoever was killed."""

from __future__ import annotations

import itertools
import json
import os

from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import from_sharegpt
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER, iter_manifest, manifest_name, read_records
from platolm.realism import Realism
from platolm.storage import Place, open_place
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from tests.browsed_dataset import said
from tests.unit.orchestrator.watched_place import WatchedPlace

SIZE = 16
TEXTS = ("tell me a story", "why?", "I hope this helps", "Tell me  a story")
_numbers = itertools.count()


def memory() -> Place:
    place = open_place(f"memory://realism-{os.getpid()}-{next(_numbers)}")
    place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
    place.write(RUN_FILE, [b"{}"])
    return place


def writer_at(place: Place) -> DatasetWriter:
    return DatasetWriter(place, conversations=SIZE)


def records(*indices: int) -> dict[int, str]:
    """Each says something of its own, some of them nothing."""
    return {index: json.dumps(said(index, *TEXTS[index % 4 :][: index % 3], "x")) for index in indices}


def measured(place: Place) -> Realism:
    realism = Realism()
    for record in read_records(place):
        realism.add(from_sharegpt(record).messages)
    return realism


def test_a_writer_that_comes_later_knows_it_all() -> None:
    place = memory()
    first = writer_at(place)
    first.commit(records(0, 1, 2))
    first.commit(records(2, 3))
    first.commit(records(3))
    assert first.realism == writer_at(place).realism == measured(place)
    assert first.realism.conversations == 4


def test_an_attempt_that_failed_counts_nothing_and_the_next_one_once() -> None:
    place = memory()
    lost = itertools.chain([True], itertools.repeat(False))

    def lose(step: str) -> None:
        if step == "create" and next(lost):
            raise OSError("the answer was lost")

    writer = writer_at(WatchedPlace(place, after=lose))
    try:
        writer.commit(records(0, 1))
    except OSError:
        assert writer.realism.conversations == 0
    writer.commit(records(0, 1))
    assert writer.realism == measured(place)
    assert writer.realism.conversations == 2


def without_realism(place: Place, *, has_summary: bool) -> None:
    """Make the first entry one of before there were measures, or before there were summaries."""
    entry = json.loads(next(iter_manifest(place)).model_dump_json())
    if has_summary:
        del entry["summary"]["realism"]
    else:
        entry["summary"] = None
    place.remove(manifest_name(1))
    assert place.create(manifest_name(1), json.dumps(entry).encode())


def test_segments_of_before_there_were_measures_are_left_out() -> None:
    for has_summary in (True, False):
        place = memory()
        writer = writer_at(place)
        writer.commit(records(0, 1, 2))
        writer.commit(records(3, 4))
        without_realism(place, has_summary=has_summary)
        later = writer_at(place)
        assert (len(later.committed), later.realism.conversations) == (5, 2)


def batches() -> st.SearchStrategy[set[int]]:
    return st.sets(st.integers(0, 7), min_size=1)


@given(own=st.lists(batches(), max_size=3), others=st.lists(st.none() | st.tuples(st.booleans(), batches())))
def test_writers_that_meet_at_any_step(own: list[set[int]], others: list[tuple[bool, set[int]] | None]) -> None:
    """Before each step of one writer, none or one of two others commits something of the same run."""
    inner = memory()
    rivals = [writer_at(inner), writer_at(inner)]
    meetings = iter(others)

    def meet(_step: str) -> None:
        if (meeting := next(meetings, None)) is not None:
            rivals[meeting[0]].commit(records(*meeting[1]))

    writer = writer_at(WatchedPlace(inner, before=meet))
    for batch in own:
        writer.commit(records(*batch))
    for _ in meetings:  # nobody commits any more
        pass
    for one in (writer, *rivals):
        one.refresh()
        assert one.realism == measured(inner)
