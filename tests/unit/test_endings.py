"""Every rule that ends a conversation, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import (
    FinishReason,
    ending_of,
    is_loop,
    kept_turns,
    repeats_itself,
    says_one_of,
    should_regenerate,
)
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault
from platolm.spec import Endings


@dataclass(frozen=True)
class Said:
    role: str
    content: str
    finish_reason: FinishReason = FinishReason.STOP
    end: End | None = None
    fault: Fault | None = None


def dialogue(
    *contents: str, last: FinishReason = FinishReason.STOP, end: End | None = None, fault: Fault | None = None
) -> list[Said]:
    """Turns in alternation, beginning with the user; `last`, `end` and `fault` are the last one's."""
    said = [Said((USER, ASSISTANT)[i % 2], content) for i, content in enumerate(contents)]
    return [*said[:-1], Said(said[-1].role, said[-1].content, last, end, fault)]


def with_goodbye(at: int, *contents: str) -> list[Said]:
    """Turns in alternation, of which that at `at` is a goodbye."""
    return [*dialogue(*contents[: at + 1], end=End.MARKER), *dialogue(*contents)[at + 1 :]]


ANY = Endings()


@pytest.mark.parametrize(
    ("turns", "endings", "expected"),
    [
        ([], ANY, None),
        (dialogue("How do I boil an egg?"), ANY, None),
        (dialogue("How?", "Like this", last=FinishReason.CONTEXT), ANY, TerminationReason.CONTEXT_FULL),
        (dialogue("How?", " \n"), ANY, TerminationReason.EMPTY),
        (dialogue("", last=FinishReason.LENGTH), ANY, TerminationReason.EMPTY),
        (dialogue("a b c d", "x", "A  b c D"), ANY, TerminationReason.REPETITION),
        (dialogue("a b c d", "x", "A  b c D"), Endings(repetition=False), None),
        (dialogue("a b c d", "x", "a b c d", last=FinishReason.SEED), ANY, None),
        (dialogue("q", "a"), Endings(max_turns=2), TerminationReason.TURN_LIMIT),
        (dialogue("q", "a"), Endings(max_turns=3), TerminationReason.TURN_LIMIT),
        (dialogue("q", "a"), Endings(max_turns=4), None),
        (dialogue("q", "a", "r"), Endings(max_turns=3), None),
        (dialogue("ho " * 24, last=FinishReason.LENGTH), ANY, TerminationReason.REPETITION),
        (dialogue("ho " * 24, last=FinishReason.LENGTH), Endings(repetition=False), None),
        # A goodbye and the stop phrases are the user's.
        (dialogue("Thanks.", end=End.MARKER), ANY, TerminationReason.USER_ENDED),
        (dialogue("", end=End.MARKER), ANY, TerminationReason.USER_ENDED),
        (dialogue("", end=End.BLANK), ANY, TerminationReason.USER_ENDED),
        (dialogue("Thanks.", end=End.MARKER), Endings(user_ended=False), None),
        (dialogue("", end=End.BLANK), Endings(user_ended=False), TerminationReason.EMPTY),
        (dialogue("q", "Thanks.", end=End.MARKER), ANY, None),
        (dialogue("Thanks. <e>"), ANY, None),
        # So many more turns are made after a goodbye, and other rules hold meanwhile.
        (with_goodbye(0, "Bye."), Endings(extra_turns=2), None),
        (with_goodbye(0, ""), Endings(extra_turns=2), None),
        (with_goodbye(0, "Bye.", "a"), Endings(extra_turns=2), None),
        (with_goodbye(0, "Bye.", "a", "r"), Endings(extra_turns=2), TerminationReason.USER_ENDED),
        (with_goodbye(0, "Bye.", ""), Endings(extra_turns=2), TerminationReason.EMPTY),
        (with_goodbye(0, "Bye.", "a"), Endings(extra_turns=9, max_turns=3), TerminationReason.TURN_LIMIT),
        # What gives the simulation away ends it; what is only clumsy does not.
        (dialogue("As an AI, I", fault=Fault.ROLE_SLIP), ANY, TerminationReason.UNUSABLE),
        (dialogue("</think> hi", fault=Fault.REASONING_LEAK), ANY, TerminationReason.UNUSABLE),
        (dialogue("I want", fault=Fault.FIRST_TOKEN), ANY, None),
        (dialogue("As an AI, I", fault=Fault.ROLE_SLIP, end=End.MARKER), ANY, TerminationReason.UNUSABLE),
        # Both sides do nothing but say goodbye.
        (dialogue("q", "Bye!", "Bye!", "See you!", "Take care!"), ANY, TerminationReason.GOODBYE_LOOP),
        (dialogue("q", "Bye!", "Bye!", "See you!", "Take care!"), Endings(goodbye_loops=False), None),
        (dialogue("q", "a", "Bye!", "See you!", "Take care!"), ANY, None),
        (dialogue("Bye!"), Endings(stop_phrases=["bye"]), TerminationReason.STOP_PHRASE),
        (dialogue("Bye!"), ANY, None),
        (dialogue("Bye!", last=FinishReason.SEED), Endings(stop_phrases=["bye"]), None),
        (dialogue("q", "Bye!"), Endings(stop_phrases=["bye"]), None),
        # Of several reasons, the first of context, blank, user, repetition, limit is told.
        (dialogue("q", "", last=FinishReason.CONTEXT), ANY, TerminationReason.CONTEXT_FULL),
        (dialogue("bye", end=End.MARKER), Endings(stop_phrases=["bye"]), TerminationReason.USER_ENDED),
        (dialogue("a b c d bye", "x", "a b c d bye"), Endings(stop_phrases=["bye"]), TerminationReason.STOP_PHRASE),
        (dialogue("q", ""), Endings(max_turns=2), TerminationReason.EMPTY),
        (dialogue("q", "a b c d", "r", "a b c d"), Endings(max_turns=4), TerminationReason.REPETITION),
        # Blank utterances end even with the rule off, once they were made again in vain.
        (dialogue("q", " "), Endings(empty=False), TerminationReason.EMPTY),
        (dialogue("q", "a", last=FinishReason.LENGTH), ANY, None),
    ],
)
def test_ending(turns: list[Said], endings: Endings, expected: TerminationReason | None) -> None:
    assert ending_of(turns, endings) is expected


@pytest.mark.parametrize(
    ("text", "phrases", "said"),
    [
        ("Good bye", ["good bye"], True),
        ("well, GOOD\n  BYE then", ["good bye"], True),
        ("Goodbye", ["bye"], False),
        ("byes", ["bye"], False),
        ("bye.", ["bye"], True),
        ("bye", ["bye."], False),
        ("I'm done.", ["i'm done"], True),
        ("I am done", ["i'm done"], False),
        ("good day, bye", ["good bye"], False),
        ("STRASSE", ["straße"], True),
        ("das war's 🙂", ["🙂"], True),
        ("a.b", ["a.b"], True),
        ("a-b", ["a.b"], False),
        ("one of many", ["none", "many"], True),
        ("", ["bye"], False),
        ("bye", [], False),
    ],
)
def test_stop_phrases_are_whole_words_in_any_case(text: str, phrases: list[str], said: bool) -> None:
    assert says_one_of(text, phrases) is said


PHRASES = st.text(min_size=1, max_size=9).filter(lambda phrase: bool(phrase.strip()))


@given(st.text(max_size=20), PHRASES, st.text(max_size=20))
def test_a_phrase_between_spaces_is_always_found(before: str, phrase: str, after: str) -> None:
    assert says_one_of(f"{before} {phrase} {after}", [phrase])


@given(PHRASES)
def test_no_phrase_is_found_in_nothing(phrase: str) -> None:
    """A phrase whose words were all dropped would end every conversation."""
    assert not says_one_of("", [phrase])


R = TerminationReason


@pytest.mark.parametrize(
    ("reason", "num_turns", "endings", "again"),
    [
        (None, 1, Endings(min_turns=9), False),
        (R.USER_ENDED, 3, Endings(min_turns=4), True),
        (R.USER_ENDED, 4, Endings(min_turns=4), False),
        (R.USER_ENDED, 1, ANY, False),
        (R.STOP_PHRASE, 3, Endings(min_turns=4), True),
        (R.REPETITION, 3, Endings(min_turns=4), True),
        (R.EMPTY, 3, Endings(min_turns=4), True),
        (R.EMPTY, 4, Endings(min_turns=4), False),
        (R.EMPTY, 4, Endings(min_turns=4, empty=False), True),
        (R.EMPTY, 10_000, Endings(empty=False), True),
        (R.GOODBYE_LOOP, 5, Endings(min_turns=6), True),
        # Another utterance would change nothing about these.
        (R.CONTEXT_FULL, 1, Endings(min_turns=4), False),
        (R.TURN_LIMIT, 3, Endings(min_turns=4), False),
    ],
)
def test_when_an_utterance_is_made_again(reason: R | None, num_turns: int, endings: Endings, again: bool) -> None:
    assert should_regenerate(reason, num_turns, endings) is again


def test_a_short_utterance_repeats_only_when_it_comes_twice_in_a_row() -> None:
    assert not repeats_itself(dialogue("Thank you!", "a", "And then?", "b", "Thank you!"))
    assert repeats_itself(dialogue("And then?", "a", "Thank you!", "b", "thank you!"))


def test_the_other_sides_words_are_no_repetition() -> None:
    assert not repeats_itself(dialogue("say this after me", "say this after me"))


def test_a_loop_is_an_utterance_that_did_not_end_by_itself() -> None:
    text = "start " + "and so on, " * 20
    assert is_loop(Said(USER, text, FinishReason.LENGTH))
    assert not is_loop(Said(USER, text, FinishReason.STOP))
    assert not is_loop(Said(USER, " ".join(str(i) for i in range(200)), FinishReason.LENGTH))


@pytest.mark.parametrize(
    ("turns", "reason", "kept"),
    [
        (dialogue("q", "a", "r"), TerminationReason.CONTEXT_FULL, 2),
        (dialogue("q", "a", "r", last=FinishReason.CONTEXT), TerminationReason.CONTEXT_FULL, 2),
        (dialogue("q", "a", "r", "b", last=FinishReason.CONTEXT), TerminationReason.CONTEXT_FULL, 2),
        (dialogue("q", "a"), TerminationReason.CONTEXT_FULL, 2),
        (dialogue("q", "a", last=FinishReason.CONTEXT), TerminationReason.CONTEXT_FULL, 2),
        (dialogue("q"), TerminationReason.CONTEXT_FULL, 1),
        (dialogue("q", "a", "r", ""), TerminationReason.EMPTY, 2),
        (dialogue("q", ""), TerminationReason.EMPTY, 1),
        (dialogue(""), TerminationReason.EMPTY, 0),
        (dialogue("q", "a", "q"), TerminationReason.REPETITION, 2),
        (dialogue("q", "a", "r", "a"), TerminationReason.REPETITION, 2),
        (dialogue("q", "a", "r", "b"), TerminationReason.TURN_LIMIT, 4),
        (dialogue("q", "a", "bye", end=End.MARKER), TerminationReason.USER_ENDED, 2),
        (dialogue("bye", end=End.MARKER), TerminationReason.USER_ENDED, 1),
        (dialogue("", end=End.BLANK), TerminationReason.USER_ENDED, 0),
        (with_goodbye(2, "q", "a", "bye", "b", "r", "c"), TerminationReason.USER_ENDED, 6),
        (dialogue("q", "a", "I am an AI.", fault=Fault.ROLE_SLIP), TerminationReason.UNUSABLE, 2),
        (dialogue("I am an AI.", fault=Fault.ROLE_SLIP), TerminationReason.UNUSABLE, 0),
        (dialogue("q", "a", "bye", "bye", "bye", "bye"), TerminationReason.GOODBYE_LOOP, 4),
        (dialogue("bye", "bye", "bye", "bye"), TerminationReason.GOODBYE_LOOP, 2),
        (dialogue("q", "bye", "bye", "bye", "bye"), TerminationReason.GOODBYE_LOOP, 2),
        (dialogue("q", "a", "bye"), TerminationReason.STOP_PHRASE, 2),
        (dialogue("q", "q", last=FinishReason.LENGTH), TerminationReason.REPETITION, 2),
        (dialogue(" ", " "), TerminationReason.EMPTY, 0),
        ([], TerminationReason.CONTEXT_FULL, 0),
        # Two of one role: whatever hangs at the end goes.
        ([Said(USER, "q"), Said(ASSISTANT, "a"), Said(USER, "r"), Said(USER, "s")], TerminationReason.CONTEXT_FULL, 2),
    ],
)
def test_what_is_kept(turns: list[Said], reason: TerminationReason, kept: int) -> None:
    assert kept_turns(turns, reason) == kept


@given(
    st.lists(st.sampled_from(["", "a", "b c d e f"]), max_size=9),
    st.sampled_from(list(FinishReason)),
    st.sampled_from(list(TerminationReason)),
)
def test_what_is_kept_is_whole_rounds_unless_only_one_was_begun(
    contents: list[str], last: FinishReason, reason: TerminationReason
) -> None:
    turns = dialogue(*contents, last=last) if contents else []
    kept = kept_turns(turns, reason)
    assert 0 <= kept <= len(turns)
    assert kept % 2 == 0 or kept == 1
