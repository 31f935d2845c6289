"""How likely a goodbye was, and when two sides do nothing but say it."""

from __future__ import annotations

from math import log

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.goodbyes import LOOP_TURNS, MAX_GOODBYE_CHARS, goodbye_probability, is_goodbye, is_goodbye_loop


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("Bye!", True),
        ("Thanks, good bye.", True),
        ("You're welcome! Have a great day!", True),
        ("TAKE CARE", True),
        ("Talk to you later", True),
        ("Thank you!", False),
        ("", False),
        ("How do I say goodbye in French?", False),
        ("byes and hellos", False),
        ("bye".ljust(MAX_GOODBYE_CHARS), True),
        ("bye".ljust(MAX_GOODBYE_CHARS + 1), False),
    ],
)
def test_a_goodbye_is_short_and_no_question(content: str, expected: bool) -> None:
    assert is_goodbye(content) is expected


def alternating(*contents: str) -> list[Message]:
    return [Message((USER, ASSISTANT)[i % 2], content) for i, content in enumerate(contents)]


def test_a_loop_is_so_many_in_a_row() -> None:
    byes = ["Bye!"] * LOOP_TURNS
    assert is_goodbye_loop(alternating(*byes))
    assert is_goodbye_loop(alternating("Why?", *byes))
    assert not is_goodbye_loop(alternating(*byes[1:]))
    for position in range(LOOP_TURNS):
        assert not is_goodbye_loop(alternating(*byes[:position], "And soup.", *byes[position + 1 :]))


def test_one_side_alone_makes_no_loop() -> None:
    assert not is_goodbye_loop([Message(USER, "Bye!")] * LOOP_TURNS)


@pytest.mark.parametrize(
    ("likeliest", "expected"),
    [
        ([], 0.0),
        ([{"hi": 0.0}], 0.0),
        ([{"<end>": log(0.25), "hi": log(0.5)}], 0.25),
        ([{"<end>": log(0.5)}, {"hi": log(0.9)}, {"<end>": log(0.5)}], 0.75),
        ([{"<end>": log(0.5), "<bye>": log(0.25)}], 0.75),
        ([{"<end>": 0.0}, {"<end>": log(0.5)}], 1.0),
    ],
)
def test_an_utterance_was_as_likely_a_goodbye_as_one_of_its_tokens(
    likeliest: list[dict[str, float]], expected: float
) -> None:
    assert goodbye_probability(likeliest, ["<end>", "<bye>"]) == pytest.approx(expected)
