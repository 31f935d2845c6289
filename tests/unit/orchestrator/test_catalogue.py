"""What is known of segments without opening them."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.dataset import ManifestEntry
from platolm.segment_summary import SegmentSummary
from services.orchestrator.datasets.catalogue import ANY, Catalogue, endings_mask, rounds_mask
from tests.browsed_dataset import said

ROUNDS: list[tuple[int, int | None, bool]] = [
    (0, 0, False),
    (1, 1, True),
    (2, 60, False),
    (2, None, True),
    (0, None, True),
    (201, None, True),
    (3, 2, False),
]
"""Least, most, and whether a segment of conversations of 1 and of 200 rounds may have some."""


def entry(number: int, size: int, summary: SegmentSummary | None = None) -> ManifestEntry:
    return ManifestEntry(
        number=number, segment="s", indices=list(range(size)), size_bytes=1, sha256="", summary=summary
    )


@given(st.lists(st.integers(0, 4), max_size=8), st.integers(0, 40))
def test_positions_and_segments(sizes: list[int], position: int) -> None:
    catalogue = Catalogue()
    for number, size in enumerate(sizes, 1):
        catalogue.add(entry(number, size))
    holders = [number for number, size in enumerate(sizes, 1) for _ in range(size)]
    expected = holders[position] if position < len(holders) else len(sizes) + 1
    assert catalogue.num_records == sum(sizes)
    assert catalogue.number_at(position) == expected
    for number in range(1, len(sizes) + 1):
        assert catalogue.first_of(number) == sum(sizes[: number - 1])


def test_what_may_be_in_a_segment() -> None:
    catalogue = Catalogue()
    long = said(1, *["x"] * 400, ending="context_full")
    catalogue.add(entry(1, 2, SegmentSummary.of([said(0, "a", "b"), long])))
    catalogue.add(entry(2, 1))
    assert (catalogue.is_summarised(1), catalogue.is_summarised(2)) == (True, False)
    assert catalogue.may_hold(1, endings_mask(["context_full"]), ANY)
    assert not catalogue.may_hold(1, endings_mask(["error"]), ANY)
    for least, most, may in ROUNDS:
        assert catalogue.may_hold(1, ANY, rounds_mask(least, most)) is may, (least, most)


def test_a_summary_counts_once() -> None:
    catalogue = Catalogue()
    catalogue.add(entry(1, 1))
    summary = SegmentSummary.of([said(0, "a", "b", ending="something new")])
    for _ in range(2):
        catalogue.learn(1, summary)
    assert catalogue.totals == summary
    assert catalogue.may_hold(1, endings_mask(["another new one"]), ANY)
    assert not catalogue.may_hold(1, endings_mask(["empty"]), ANY)


@given(st.integers(0, 80), st.integers(0, 80), st.integers(0, 80))
def test_a_mask_of_rounds_never_hides_a_record(least: int, most: int, rounds: int) -> None:
    catalogue = Catalogue()
    catalogue.add(entry(1, 1, SegmentSummary(endings={"empty": 1}, rounds={rounds: 1})))
    may = catalogue.may_hold(1, ANY, rounds_mask(least, most))
    assert may or not least <= rounds <= most
    assert not may or max(least, most, rounds) >= 63 or least <= rounds <= most


@pytest.mark.timeout(60)
def test_ten_thousand_segments_take_little_memory() -> None:
    summary = SegmentSummary.of([said(index, "a", "b") for index in range(100)])
    one = entry(1, 100, summary)
    catalogue = Catalogue()
    tracemalloc.start()
    try:
        for number in range(1, 10_001):
            catalogue.add(one.model_copy(update={"number": number}))
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert catalogue.num_records == 1_000_000
    assert size < 500_000
