"""Every rule that ends a conversation, and what is kept of it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason, ending_of, is_loop, kept_turns, repeats_itself
from platolm.runs import Endings


@dataclass(frozen=True)
class Said:
    role: str
    content: str
    finish_reason: FinishReason = FinishReason.STOP


def dialogue(*contents: str, last: FinishReason = FinishReason.STOP) -> list[Said]:
    """Turns in alternation, beginning with the user; `last` is how the last one ended."""
    said = [Said((USER, ASSISTANT)[i % 2], content) for i, content in enumerate(contents)]
    return [*said[:-1], Said(said[-1].role, said[-1].content, last)]


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
    ],
)
def test_ending(turns: list[Said], endings: Endings, expected: TerminationReason | None) -> None:
    assert ending_of(turns, endings) is expected


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
