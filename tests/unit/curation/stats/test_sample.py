"""A sample that does not depend on how the data was cut up."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from curation.stats.sample import Sampled, drawn, lot
from tests.unit.curation.stats.records import dialogue


def candidates(count: int, part: int = 0) -> list[Sampled]:
    return [Sampled(lot(1, part, place), f"{part}/{place}", ()) for place in range(count)]


def test_a_lot_is_the_same_for_the_same_place_and_another_for_each_other() -> None:
    assert lot(1, 2, 3) == lot(1, 2, 3)
    assert len({lot(seed, part, place) for seed in range(9) for part in range(9) for place in range(9)}) == 729


@settings(deadline=None)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 30))
def test_the_sample_of_parts_samples_is_the_sample_of_the_whole(one: int, other: int, size: int) -> None:
    whole = drawn([*candidates(one, 0), *candidates(other, 1)], size)
    parts = drawn([*drawn(candidates(one, 0), size), *drawn(candidates(other, 1), size)], size)
    assert whole == parts
    assert len(whole) == min(size, one + other)


def test_places_are_drawn_evenly() -> None:
    sample = drawn(candidates(10_000), 1000)
    early = sum(int(one.id.partition("/")[2]) < 5000 for one in sample)
    assert 430 < early < 570  # 500 ± 4.4 standard deviations


def test_questions_are_the_users_turns_that_say_something() -> None:
    sampled = Sampled(1, "a", dialogue("hello", "x", " ", "y", "more").messages)
    assert (sampled.questions, sampled.opening) == (["hello", "more"], "hello")
    assert Sampled(1, "a", ()).opening is None
