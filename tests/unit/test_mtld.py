"""MTLD by its definition, and against the package lexicalrichness."""

from __future__ import annotations

import warnings

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platolm.mtld import mtld, words_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what the package imports
    from lexicalrichness import LexicalRichness  # type: ignore[import-untyped]

TEXT = "The cat saw the dog, the dog saw the cat; then the cat — not the dog — ran to the well-known tree 42 times!"


def test_words_are_lower_case_without_digits_dashes_and_punctuation() -> None:
    assert words_of("It's well-known: 42 Cats—no, dogs–!") == ["it", "s", "wellknown", "catsno", "dogs"]


def test_no_words_have_no_diversity() -> None:
    assert mtld([]) is None
    assert mtld(words_of(" 42 -- !? ")) is None


def test_distinct_words_are_as_diverse_as_they_are_many() -> None:
    assert mtld(["one", "two", "three"]) == 3.0


def test_one_word_over_and_over_is_a_factor_every_two_words() -> None:
    assert mtld(["so"] * 10) == 2.0


def test_a_partial_factor_counts_by_how_far_it_came() -> None:
    words = ["a", "b", "c", "d", "a"]  # 4 distinct of 5 at the end, either way: 0.2 of 0.28
    assert mtld(words) == pytest.approx(5 / (0.2 / 0.28))


def test_directions_differ_and_are_averaged() -> None:
    words = ["a", "a", "b", "c", "d", "e"]  # forwards one factor and nothing left of the rest, backwards 1/6 of 0.28
    assert mtld(words) == pytest.approx((6 / 1 + 6 / ((1 / 6) / 0.28)) / 2)


def test_a_text_as_lexicalrichness_has_it() -> None:
    assert mtld(words_of(TEXT * 5)) == LexicalRichness(TEXT * 5).mtld(threshold=0.72)


@settings(deadline=None)
@given(st.text(alphabet="ab cd,.-–—'9é\n", min_size=1, max_size=300))
def test_any_text_as_lexicalrichness_has_it(text: str) -> None:
    theirs = LexicalRichness(text)
    assert words_of(text) == theirs.wordlist
    assert mtld(words_of(text)) == (theirs.mtld(threshold=0.72) if theirs.words else None)


@settings(deadline=None)
@given(st.text(max_size=200))
def test_any_unicode_has_the_same_words(text: str) -> None:
    assert words_of(text) == LexicalRichness(text).wordlist
