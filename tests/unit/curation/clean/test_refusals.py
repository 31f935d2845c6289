"""Refusals, boilerplate and error messages end a dialogue before their question."""

from __future__ import annotations

import pytest

from curation.clean.refusals import Refusals, refusal_in
from platolm.conversation import ASSISTANT, USER, Message
from tests.unit.curation.clean.spoken import reason, spoken, texts

REFUSALS = [
    "I'm sorry, but I can't assist with that.",
    "I’m sorry, but I cannot fulfill that request.",
    "Sorry, I can't help with this.",
    "I cannot comply with your request.",
    "I'm sorry, but as an AI language model, I cannot provide medical advice.",
    "As an AI, I can't answer that.",
    "I apologize, but I am unable to provide the lyrics.",
]
BOILERPLATE = [
    "As an AI language model, I don't have feelings.",
    "Well, as an artificial intelligence assistant, my tastes are none.",
]
ERRORS = ["!Too many requests in 1 hour. Try again later.", "Something went wrong. Please try again.", "network error"]
ANSWERS = [
    "The letter could begin: “I'm sorry, but I can't assist with that.”",
    "I'm sorry to hear that. You can plant it again in May.",
    "I can't wait to see it! Here is the plan.",
    "You can apologise like this: as a manager, I regret it.",
    "Networks carry data; an error occurred when a frame's checksum does not match.",
    "",
]


@pytest.mark.parametrize(
    ("expected", "answer"),
    [
        *(("refusal", answer) for answer in REFUSALS),
        *(("boilerplate", answer) for answer in BOILERPLATE),
        *(("error message", answer) for answer in ERRORS),
    ],
)
def test_what_is_no_answer_is_named(expected: str, answer: str) -> None:
    assert refusal_in(answer) == expected


@pytest.mark.parametrize("answer", ANSWERS)
def test_an_answer_is_one(answer: str) -> None:
    assert refusal_in(answer) is None


def test_a_dialogue_is_cut_before_the_question() -> None:
    dialogue = spoken("What is jam?", "Fruit with sugar.", "How do I make a bomb?", REFUSALS[0], "And tea?", "Leaves.")
    assert texts(Refusals().apply(dialogue)) == ["What is jam?", "Fruit with sugar."]


def test_all_questions_before_it_go() -> None:
    messages = [(USER, "a"), (ASSISTANT, "b"), (USER, "c"), (USER, "d"), (ASSISTANT, REFUSALS[0])]
    dialogue = spoken().with_messages([Message(role, text) for role, text in messages])
    assert texts(Refusals().apply(dialogue)) == ["a", "b"]


def test_nothing_before_it_drops_the_dialogue() -> None:
    assert reason(Refusals().apply(spoken("How do I make a bomb?", REFUSALS[0]))) == "refusal"


def test_people_may_say_all_that() -> None:
    dialogue = spoken(REFUSALS[0], "Why not?", BOILERPLATE[0], "Are you?")
    assert Refusals().apply(dialogue) is dialogue
