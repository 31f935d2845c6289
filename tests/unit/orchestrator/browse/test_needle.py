"""Searched texts: the quick look at bytes never hides what is there, and the match is shown as it is written."""

from __future__ import annotations

import json
import sys

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.orchestrator.browse.needle import FOLDED_INTO_ASCII, Needle, Span, is_plain

ALPHABET = st.sampled_from('aAsSkKiIfFtT ß"\\/\n\t\x7fſ\u212aİﬁéÉжЖΣσςΐ你好…✓😀\u0307')
TEXTS = st.text(ALPHABET | st.characters(exclude_categories=["Cs"]), max_size=12)
NEEDLES = st.text(ALPHABET, min_size=1, max_size=4)


def test_what_is_known_of_folding_holds_for_every_character() -> None:
    """Nothing else folds into ASCII, and nothing folds into a plain character beyond ASCII but itself."""
    every = [chr(code) for code in range(sys.maxunicode + 1)]
    folded = {char: char.casefold() for char in every if char.casefold() != char}
    into_ascii = {char for char, into in folded.items() if not char.isascii() and any(map(str.isascii, into))}
    assert into_ascii == set(FOLDED_INTO_ASCII)
    assert not [char for into in folded.values() for char in into if not char.isascii() and is_plain(char)]
    assert not [char for char in folded if not char.isascii() and is_plain(char)]


def test_most_writing_without_case_is_plain() -> None:
    assert all(map(is_plain, "你好한글かなعربيहमת—“”😀✓"))


@given(text=TEXTS, around=st.tuples(TEXTS, TEXTS), needle=NEEDLES, is_ascii=st.booleans())
@example(text="STRASSE", around=("", ""), needle="ß", is_ascii=False)
@example(text="Straße", around=("", ""), needle="SSE", is_ascii=True)
@example(text="3 \u212a", around=("", ""), needle="3 k", is_ascii=False)
@example(text="ΟΔΟΣ", around=("", ""), needle="οδος", is_ascii=False)
def test_bytes_hide_nothing(text: str, around: tuple[str, str], needle: str, is_ascii: bool) -> None:
    utterance = around[0] + text + around[1]
    line = json.dumps({"value": utterance}, ensure_ascii=is_ascii).encode() + b"\n"
    if needle.casefold() in utterance.casefold():
        assert Needle(needle).may_be_in(line)
        assert Needle(needle).may_be_in(orjson.dumps({"value": utterance}))


@given(utterance=TEXTS, needle=st.text(ALPHABET, min_size=1, max_size=3))
def test_the_match_is_what_is_written_there(utterance: str, needle: str) -> None:
    span = Needle(needle).find(utterance)
    assert (span is not None) == (needle.casefold() in utterance.casefold())
    if span is not None:
        match = utterance[span.start : span.end]
        assert needle.casefold() in match.casefold()
        assert needle.casefold() not in match[1:].casefold()
        assert needle.casefold() not in match[:-1].casefold()


@pytest.mark.parametrize(
    ("needle", "line", "may"),
    [
        ("basil", b'{"value": "Keep BASIL alive"}', True),
        ("basil", b'{"value": "Keep thyme alive"}', False),
        ("basil", '{"value": "Thymian mit Soße"}'.encode(), False),
        ("sose", '{"value": "Thymian mit Soße"}'.encode(), False),
        ("sosse", '{"value": "Thymian mit Soße"}'.encode(), True),
        ("basil", b'{"value": "\\u0062asil"}', True),
        ("привет", '{"value": "ПРИВЕТ"}'.encode(), True),
        ("привет", '{"value": "пока"}'.encode(), False),
        ("你好", '{"value": "我说你好"}'.encode(), True),
        ("你好", '{"value": "你不好"}'.encode(), False),
        ("\n", b'{"value": "a"}', True),
    ],
)
def test_which_lines_are_parsed(needle: str, line: bytes, may: bool) -> None:
    assert Needle(needle).may_be_in(line) is may


def test_a_snippet_is_cut_around_the_match() -> None:
    text = "b" * 100 + "Needle" + "a" * 200
    found = Needle("nEEDLE").find(text)
    assert found == Span(100, 106)
    snippet = found.snippet(text, "user", 4)
    assert (snippet.before, snippet.match, snippet.after) == ("b" * 60, "Needle", "a" * 120)
    assert (snippet.role, snippet.turn_index) == ("user", 4)
