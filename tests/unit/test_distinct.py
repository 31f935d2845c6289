"""Counting distinct texts with a sketch."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from platolm.distinct import DistinctCount


def counted(texts: list[str], size: int = 1024) -> DistinctCount:
    count = DistinctCount(size=size)
    for text in texts:
        count.add(text)
    return count


def test_few_are_counted_exactly() -> None:
    assert counted(["a", "b", "a", "c", "b"]).estimate == 3


def test_nothing_is_none() -> None:
    assert DistinctCount().estimate == 0


def test_many_are_estimated_within_the_promised_error() -> None:
    count = counted([f"opening {number}" for number in range(30_000)] * 2, size=1024)
    assert len(count.smallest) == 1024
    assert abs(count.estimate - 30_000) / 30_000 < 0.1  # three times 1/√1024


@settings(deadline=None)
@given(st.lists(st.integers(0, 50).map(str)), st.lists(st.integers(0, 50).map(str)), st.integers(2, 30))
def test_merged_parts_are_the_whole(one: list[str], other: list[str], size: int) -> None:
    merged = counted(one, size)
    merged.merge(counted(other, size))
    assert merged == counted(one + other, size)


def test_the_smaller_of_two_sizes_holds() -> None:
    texts = [str(number) for number in range(100)]
    small = counted(texts, 10)
    large = counted(texts, 50)
    large.merge(small)
    assert large == small


def test_it_comes_back_from_json() -> None:
    count = counted(["a", "b"])
    assert DistinctCount.model_validate_json(count.model_dump_json()) == count
