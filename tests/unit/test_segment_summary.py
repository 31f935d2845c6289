"""What is counted of a segment."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.dataset import ManifestEntry
from platolm.realism import Realism
from platolm.segment_summary import SegmentSummary, upper_bound
from tests.browsed_dataset import said
from tests.conversation_records import record_json


def test_a_segment_is_counted() -> None:
    records = [
        said(0, "a", "b", "c", "d", num_tokens=17),
        said(1, "a", "b", ending="empty", num_tokens=16),
        json.loads(record_json(2)),  # its question was given, not generated
    ]
    assert SegmentSummary.of(records).model_dump(exclude={"realism"}) == {
        "endings": {"turn_limit": 2, "empty": 1},
        "rounds": {2: 1, 1: 2},
        "user_tokens": {32: 2, 16: 1, 2: 1},
        "assistant_tokens": {32: 2, 16: 1, 2: 1},
        "tokens": 4 * 17 + 2 * 16 + 2,
        "faults": {},
    }


def test_what_guardrails_found_is_counted() -> None:
    records = [said(0, "a", "b", "c", "d"), said(1, "a", "b")]
    records[0]["turns"][0]["faults"] = ["role_slip", "repeated", "role_slip"]
    records[0]["turns"][2]["faults"] = None
    records[1]["turns"][0]["faults"] = ["repeated"]
    total = SegmentSummary.of(records)
    assert total.faults == {"role_slip": 2, "repeated": 2}
    total.add(SegmentSummary(faults={"repeated": 3, "too_long": 1}))
    assert total.faults == {"role_slip": 2, "repeated": 5, "too_long": 1}


def test_the_user_is_measured() -> None:
    summary = SegmentSummary.of([said(0, "a", "b", "a", "d"), said(1, "I hope this helps", "b")])
    assert summary.realism is not None
    assert summary.realism.figures() == {
        "rounds": 1.5,
        "user_words": 2.0,
        "assistant_words": 1.0,
        "mtld": 2.0,
        "repeats": pytest.approx(1 / 3),
        "role_slips": pytest.approx(1 / 3),
        "distinct_openings": 1.0,
    }


@pytest.mark.parametrize("turns", [None, [{"from": "human"}], [{"from": "human", "value": 5}]])
def test_a_record_without_its_texts_cannot_be_counted(turns: object) -> None:
    with pytest.raises(TypeError):
        SegmentSummary.of([{**said(0, "a", "b"), "conversations": turns}])


def test_a_segment_that_was_not_measured_leaves_the_measures_as_they_are() -> None:
    total = SegmentSummary(rounds={1: 1})
    total.add(SegmentSummary(rounds={2: 1}))
    assert total == SegmentSummary(rounds={1: 1, 2: 1})
    measured = SegmentSummary.of([said(0, "a", "b")])
    for other in (measured, SegmentSummary(rounds={1: 3}), measured):
        total.add(other)
    assert total.realism is not None
    assert (total.num_records, total.realism.conversations) == (7, 2)
    assert measured.realism is not None
    assert measured.realism.conversations == 1, "what was added is another's still"


@pytest.mark.parametrize(
    ("length", "bound"), [(0, 1), (1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (1024, 1024), (1025, 2048)]
)
def test_bins_are_powers_of_two(length: int, bound: int) -> None:
    assert upper_bound(length) == bound


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["empty", "error"]), st.integers(1, 4), st.integers(0, 40)), max_size=4)
    )
)
def test_summaries_add_up(batches: list[list[tuple[str, int, int]]]) -> None:
    segments = [
        [said(0, *["x"] * (2 * rounds), ending=ending, num_tokens=size) for ending, rounds, size in batch]
        for batch in batches
    ]
    total = SegmentSummary()
    for segment in segments:
        total.add(SegmentSummary.of(segment))
    total.realism = total.realism or Realism()
    assert total == SegmentSummary.of(record for segment in segments for record in segment)
    assert total.num_records == sum(map(len, segments))


def test_it_survives_the_manifest_and_entries_without_it_are_read() -> None:
    entry = ManifestEntry(
        number=1, segment="s", indices=[0], size_bytes=1, sha256="", summary=SegmentSummary.of([said(0, "a", "b")])
    )
    written = entry.model_dump_json()
    assert json.loads(written)["summary"]["rounds"] == {"1": 1}
    assert json.loads(written)["summary"]["realism"]["user_turns"] == 1
    assert ManifestEntry.model_validate_json(written) == entry
    old = '{"number": 1, "segment": "s", "indices": [0], "size_bytes": 1, "sha256": ""}'
    assert ManifestEntry.model_validate_json(old).summary is None
    before_measures = json.loads(written)
    del before_measures["summary"]["realism"]
    read = ManifestEntry.model_validate_json(json.dumps(before_measures)).summary
    assert read is not None
    assert (read.num_records, read.realism) == (1, None)
