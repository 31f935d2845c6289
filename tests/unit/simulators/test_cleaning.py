"""What is kept of an utterance, whole and streamed; what is hidden of an answer."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from platolm.simulators.cleaning import Cleaned, Cleaning, End, StreamCleaner, without_thoughts

USERLM = Cleaning(("<|endconversation|>",), blank_ends=True)
PLAIN = Cleaning(strips=False, drops_thought=False)
TWO = Cleaning(("<end>", "<e>"))


@pytest.mark.parametrize(
    ("cleaning", "text", "expected"),
    [
        (USERLM, "\nhi there", Cleaned("hi there")),
        (USERLM, "hi there", Cleaned("hi there")),
        (USERLM, "hi \n", Cleaned("hi", intact=False)),
        (USERLM, "", Cleaned("", End.BLANK)),
        (USERLM, " \n", Cleaned("", End.BLANK)),
        (USERLM, "bye <|endconversation|>", Cleaned("bye", End.MARKER, "<|endconversation|>", intact=False)),
        (USERLM, "\n<|endconversation|>", Cleaned("", End.MARKER, "<|endconversation|>", intact=False)),
        (USERLM, "a<|endconversation|>b<|endconversation|>", Cleaned("a", End.MARKER, "<|endconversation|>", False)),
        (USERLM, "a <|endconversation", Cleaned("a <|endconversation")),
        (USERLM, "a <|endConversation|>", Cleaned("a <|endConversation|>")),
        (USERLM, "<think>hm</think>\n\nhi", Cleaned("hi", intact=False)),
        (USERLM, "\n<think></think><think>b</think> hi", Cleaned("hi", intact=False)),
        (USERLM, "<think>hm</think>", Cleaned("", End.BLANK, intact=False)),
        (USERLM, "<think>hm", Cleaned("<think>hm")),
        (USERLM, "hi <think>hm</think>", Cleaned("hi <think>hm</think>")),
        (USERLM, "<think>go <|endconversation|></think>no", Cleaned("no", intact=False)),
        (PLAIN, " hi \n", Cleaned(" hi \n")),
        (PLAIN, "", Cleaned("")),
        (PLAIN, "<think>hm</think>hi", Cleaned("<think>hm</think>hi")),
        (TWO, "a <e> b <end>", Cleaned("a", End.MARKER, "<e>", intact=False)),
        (TWO, "a <end> b <e>", Cleaned("a", End.MARKER, "<end>", intact=False)),
        (Cleaning(("bc", "abcd")), "xabcd", Cleaned("x", End.MARKER, "abcd", intact=False)),
        (Cleaning(("ab", "abc")), "xabc", Cleaned("x", End.MARKER, "ab", intact=False)),
        (Cleaning(("<e>",), strips=False), "    <e>", Cleaned("    ", End.MARKER, "<e>", intact=False)),
        (Cleaning(strips=False), " <think>a</think> b", Cleaned(" b", intact=False)),
    ],
)
def test_what_is_kept(cleaning: Cleaning, text: str, expected: Cleaned) -> None:
    assert cleaning.clean(text) == expected
    assert streamed(cleaning, list(text)) == expected


def streamed(cleaning: Cleaning, parts: list[str]) -> Cleaned:
    cleaner = StreamCleaner(cleaning)
    given_out = "".join(cleaner.feed(part) for part in parts)
    rest = cleaner.close()
    return Cleaned(given_out + rest.content, rest.end, rest.marker, rest.intact)


def test_a_marker_split_over_any_two_parts_is_found() -> None:
    text = "that is all <|endconversation|> ignored"
    for at in range(len(text) + 1):
        cleaner = StreamCleaner(USERLM)
        given_out = cleaner.feed(text[:at]) + cleaner.feed(text[at:])
        assert given_out == "that is all"
        assert cleaner.has_ended
        assert cleaner.feed("more") == ""
        assert cleaner.close() == Cleaned("", End.MARKER, "<|endconversation|>", intact=False)


def test_only_what_may_be_a_marker_is_held_back() -> None:
    cleaner = StreamCleaner(USERLM)
    parts = ["\n", "I ", "want", " <", "b>", " <|end", "game", "|>", " <|endconver"]
    given_out = ["", "I", " want", "", " <b>", "", " <|endgame", "|>", ""]
    assert [cleaner.feed(part) for part in parts] == given_out
    assert not cleaner.has_ended
    assert cleaner.close().content == " <|endconver"


def test_a_thought_is_not_shown_while_it_lasts() -> None:
    cleaner = StreamCleaner(USERLM)
    parts = ["<th", "ink>", "a <b> ", "</thi", "nk>", "\n", "so", "?"]
    assert [cleaner.feed(part) for part in parts] == ["", "", "", "", "", "", "so", "?"]
    assert cleaner.close() == Cleaned("", None, None, intact=False)


def test_what_only_looked_like_a_thought_is_shown() -> None:
    cleaner = StreamCleaner(USERLM)
    assert [cleaner.feed(part) for part in ("<th", "at> is")] == ["", "<that> is"]


CLEANINGS = st.builds(
    Cleaning,
    end_markers=st.lists(st.sampled_from(["<e>", "<end>", "ab", "ba", "aab", "abcd", "bc", "<", " e"]), max_size=3).map(
        tuple
    ),
    blank_ends=st.booleans(),
    strips=st.booleans(),
    drops_thought=st.booleans(),
)
PIECES = st.lists(
    st.sampled_from(
        ["<e>", "<end>", "<", "e", "end", ">", "a", "b", "c", "d", " ", "\n", "<think>", "</think>", "<thi"]
    ),
    max_size=12,
)


@settings(deadline=None, max_examples=500)
@given(cleaning=CLEANINGS, pieces=PIECES, data=st.data())
def test_a_stream_is_cleaned_as_the_whole(cleaning: Cleaning, pieces: list[str], data: st.DataObject) -> None:
    text = "".join(pieces)
    splits = data.draw(st.lists(st.integers(0, len(text)), max_size=8).map(sorted))
    parts = [text[a:b] for a, b in zip([0, *splits], [*splits, len(text)], strict=True)]
    assert streamed(cleaning, parts) == cleaning.clean(text)


@settings(deadline=None, max_examples=300)
@given(cleaning=CLEANINGS, pieces=PIECES)
def test_what_is_kept_is_what_was_written(cleaning: Cleaning, pieces: list[str]) -> None:
    text = "".join(pieces)
    kept = cleaning.clean(text)
    assert kept.content in text
    assert not any(marker in kept.content for marker in cleaning.end_markers)
    assert (kept.end is End.MARKER) == (kept.marker is not None)
    if kept.intact:
        assert text.lstrip().endswith(kept.content.lstrip())
        assert kept.content.lstrip() == text.lstrip()


def test_a_blank_marker_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be blank"):
        Cleaning((" ",))


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        ("A cake.", "A cake."),
        (" A cake.\n", " A cake.\n"),
        ("<think>hm</think>A cake.", "A cake."),
        ("<think>\nhm\n</think>\n\nA cake.\n", "A cake."),
        ("A <think>hm</think> cake.", "A cake."),
        ("<think>a</think>A<think>b</think> cake.", "Acake."),
        ("<think>hm", ""),
        ("A cake.\n<think>hm", "A cake."),
        ("A cake. <think>hm", "A cake. <think>hm"),
        ("hm, a cake\n</think>\n\nA cake.", "A cake."),
        ("hm, a cake</think>", ""),
        ("Close it with </think> at once.", "Close it with </think> at once."),
        ("Write `<think>` and `</think>` around it.", "Write `<think>` and `</think>` around it."),
        ("`<think>` opens. <think>hm</think>Yes.", "`<think>` opens. Yes."),
        ("`<think>` opens.\n", "`<think>` opens.\n"),
        ("Sure.\n<think>hm</think>\nYes.", "Sure.\nYes."),
        ("<thinking>hm</thinking>", "<thinking>hm</thinking>"),
        ("<think>a<think>b</think>c</think>d", "c</think>d"),
        ("", ""),
    ],
)
def test_what_is_seen_of_an_answer(answer: str, seen: str) -> None:
    assert without_thoughts(answer) == seen
    assert without_thoughts(seen) == seen


@pytest.mark.parametrize("answer", ["<think>" * 100_000, "`<think>" * 100_000 + "</think>", "<think></think>" * 60_000])
@pytest.mark.timeout(5)
def test_long_answers_are_read_once(answer: str) -> None:
    assert len(without_thoughts(answer)) <= len(answer)
