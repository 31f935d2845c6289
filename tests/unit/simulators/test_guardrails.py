"""Each guardrail, the order of them, and how often an utterance is made again."""

from __future__ import annotations

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import (
    NO_GUARDRAILS,
    Fault,
    Guardrails,
    Step,
    Tries,
    first_word,
    is_repeated,
    leaks_reasoning,
)


@pytest.mark.parametrize(
    ("content", "word"),
    [("I think so", "I"), ("I'm here", "I"), ("  Here's it", "Here"), ("It is", "It"), ("你好", "你好"),
     ("", None), ("42 cats", None), ('"I" is a word', None), ("¿Y tú?", None)],
)  # fmt: skip
def test_the_first_word(content: str, word: str | None) -> None:
    assert first_word(content) == word


@pytest.mark.parametrize(
    "content",
    [
        "<think>hm</think>",
        "so <thinking>",
        "</Reasoning> what is it",
        "Okay, the user wants a refund.",
        "Hmm. So, the user asked about cats",
        "I need to respond as the user here.",
        "We should act as a person who wants cake",
    ],
)
def test_thinking_aloud_is_a_leak(content: str) -> None:
    assert leaks_reasoning(content)


@pytest.mark.parametrize(
    "content",
    [
        "I think it is fine",
        "okay so what about the user manual?",
        "The user wants to log in. Write that story.",
        "I need to write a letter to my landlord",
        "We should act as soon as possible",
    ],
)
def test_people_think_too(content: str) -> None:
    assert not leaks_reasoning(content)


BEFORE = [
    Message(USER, "How long do eggs take?"),
    Message(ASSISTANT, "Eight minutes or so."),
    Message(USER, "Thank you!"),
    Message(ASSISTANT, "Anything more?"),
]


@pytest.mark.parametrize(
    ("content", "told", "expected"),
    [
        ("how LONG do\neggs take?", None, True),
        ("Eight minutes or so.", None, True),
        ("How long do eggs take? And cake?", None, False),
        ("Thank you!", None, True),
        ("Anything more?", None, False),
        ("", None, False),
        ("I want to boil some eggs now", "want to boil some eggs", True),
        ("I want to boil some eggsnow", "want to boil some eggs", False),
        ("I want to boil", "want to boil some eggs", False),
        ("how long do ducks live", "", False),
    ],
)
def test_repeating(content: str, told: str | None, expected: bool) -> None:
    assert is_repeated(content, BEFORE, told) is expected


def test_an_earlier_short_utterance_may_come_again() -> None:
    assert not is_repeated("Thank you!", [*BEFORE, Message(USER, "And cake?"), Message(ASSISTANT, "An hour.")])


STRICT = Guardrails(first_words=frozenset({"I"}), min_turns=3, min_words=2, max_words=6)


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (Cleaned("<think>Assistant: I", End.MARKER), Fault.REASONING_LEAK),
        (Cleaned("Assistant: I", End.MARKER), Fault.ROLE_SLIP),
        (Cleaned("I", End.MARKER), Fault.EARLY_END),
        (Cleaned("I"), Fault.FIRST_TOKEN),
        (Cleaned("Eight minutes or so."), Fault.REPEATED),
        (Cleaned("Eggs"), Fault.TOO_SHORT),
        (Cleaned("a b c d e f g"), Fault.TOO_LONG),
        (Cleaned("a b c d e f"), None),
        (Cleaned("a b"), None),
    ],
)
def test_the_first_fault_counts(said: Cleaned, fault: Fault | None) -> None:
    before = [Message(ASSISTANT, "Eight minutes or so.")]
    assert STRICT.fault_of(said, before) == fault
    assert NO_GUARDRAILS.fault_of(said, before) is None


@pytest.mark.parametrize("content", ["I", "", "a b c d e f g", "Eight minutes or so."])
def test_a_goodbye_in_time_may_be_anything_a_user_says(content: str) -> None:
    assert STRICT.fault_of(Cleaned(content, End.MARKER), BEFORE) is None


@pytest.mark.parametrize(("num_before", "fault"), [(0, Fault.EARLY_END), (1, Fault.EARLY_END), (2, None)])
def test_the_goodbye_itself_counts_as_a_turn(num_before: int, fault: Fault | None) -> None:
    assert STRICT.fault_of(Cleaned("", End.BLANK), BEFORE[:num_before]) == fault


@pytest.mark.parametrize(("asked", "expected"), [(0, 3), (3, 3), (7, 7)])
def test_the_larger_minimum_holds(asked: int, expected: int) -> None:
    assert STRICT.no_end_before(asked).min_turns == expected


def test_tries_are_bounded_and_counted() -> None:
    tries = Tries(retries=2)
    assert tries.judge(Fault.FIRST_TOKEN) is Step.RETRY
    assert tries.judge(Fault.TOO_LONG) is Step.RETRY
    assert tries.judge(Fault.FIRST_TOKEN) is Step.TAKE
    assert tries.faults == {Fault.FIRST_TOKEN: 2, Fault.TOO_LONG: 1}


@pytest.mark.parametrize("fault", [Fault.ROLE_SLIP, Fault.REASONING_LEAK])
def test_what_gives_the_simulation_away_is_dropped(fault: Fault) -> None:
    tries = Tries(retries=1)
    assert [tries.judge(fault), tries.judge(fault)] == [Step.RETRY, Step.DROP]
    assert tries.faults == {fault: 2}


@pytest.mark.parametrize("fault", sorted(set(Fault) - {Fault.ROLE_SLIP, Fault.REASONING_LEAK}))
def test_what_is_only_clumsy_is_taken(fault: Fault) -> None:
    assert Tries(retries=0).judge(fault) is Step.TAKE


def test_without_a_fault_nothing_is_counted() -> None:
    tries = Tries()
    assert tries.judge(None) is Step.TAKE
    assert not tries.faults
