"""Draws: by hash, in proportion, nested."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.seeds.sampling import Draw, digest_of, shares_of
from curation.seeds.sources import Found, Kind

CANDIDATES = [Found(Kind.PLAIN, str(i), f"Question {i}", None, {}) for i in range(60)]


def drawn(candidates: list[Found], num_wanted: int, seed: int = 0) -> list[str]:
    draw = Draw(num_wanted, seed)
    for one in candidates:
        draw.offer(one, digest_of(one.question))
    return [one.id for one in draw.drawn()]


def test_case_space_and_the_form_of_letters_make_no_other_question_but_signs_do() -> None:
    assert digest_of(" What\tis  TEA?\n") == digest_of("what is tea?")
    assert digest_of("ﬁne ① ") == digest_of("fine 1")
    assert digest_of("What is C?") != digest_of("What is C++?")
    assert len(digest_of("")) == 16


def test_a_draw_hangs_on_the_questions_and_the_seed_alone() -> None:
    shuffled = random.Random(3).sample(CANDIDATES, len(CANDIDATES))
    assert drawn(CANDIDATES, 10) == drawn(shuffled, 10)
    assert drawn(CANDIDATES, 10) != drawn(CANDIDATES, 10, seed=1)
    assert drawn(CANDIDATES, 10) != sorted(drawn(CANDIDATES, 10), key=int)


def test_a_larger_draw_begins_with_the_smaller_one_and_takes_all_there_is() -> None:
    assert drawn(CANDIDATES, 30)[:10] == drawn(CANDIDATES, 10)
    assert sorted(drawn(CANDIDATES, 100), key=int) == [one.id for one in CANDIDATES]
    assert drawn([], 5) == []


def test_strata_give_in_proportion() -> None:
    draw = Draw(10, seed=125)
    for i, one in enumerate(CANDIDATES):
        draw.offer(one, digest_of(one.question), "common" if i % 4 else "rare")
    assert draw.shares() == {"common": 8, "rare": 2}
    rare = [one.id for one in draw.drawn() if int(one.id) % 4 == 0]
    assert (len(draw.drawn()), len(rare)) == (10, 2)


def test_equal_questions_are_drawn_by_their_place() -> None:
    twice = [Found(Kind.PLAIN, name, "Tea?", None, {}) for name in "abc"]
    assert drawn(twice, 2) == ["a", "b"]


def test_what_rounding_would_lose_goes_to_the_largest_remainders() -> None:
    assert shares_of({"a": 1, "b": 1, "c": 1}, 2) == {"a": 1, "b": 1, "c": 0}
    assert shares_of({"a": 3, "b": 3, "c": 1}, 4) == {"a": 2, "b": 2, "c": 0}
    assert shares_of({"a": 2, "b": 1}, 99) == {"a": 2, "b": 1}


@given(st.dictionaries(st.text(max_size=3), st.integers(1, 400), min_size=1), st.integers(1, 2000))
def test_shares_add_up_and_are_never_off_by_one_seed(counts: dict[str, int], num_wanted: int) -> None:
    shares = shares_of(counts, num_wanted)
    total = sum(counts.values())
    assert sum(shares.values()) == min(num_wanted, total)
    for name, share in shares.items():
        assert share <= counts[name]
        assert share == pytest.approx(min(num_wanted, total) * counts[name] / total, abs=1)
