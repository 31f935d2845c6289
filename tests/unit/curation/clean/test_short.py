"""Too few rounds, and turns without text."""

from __future__ import annotations

from curation.clean.short import Short, num_rounds
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from tests.unit.curation.clean.spoken import reason, spoken, texts


def test_a_round_is_a_question_with_its_answer() -> None:
    roles = [SYSTEM, USER, ASSISTANT, ASSISTANT, USER, SYSTEM, ASSISTANT, USER]
    assert num_rounds([Message(role, "x") for role in roles]) == 2


def test_enough_rounds_pass_unchanged() -> None:
    dialogue = spoken("a", "b", "c")
    assert Short(1).apply(dialogue) is dialogue
    assert reason(Short(2).apply(dialogue)) == "too few rounds"


def test_nothing_at_all_is_too_short_unless_none_is_asked_for() -> None:
    assert reason(Short().apply(spoken())) == "too few rounds"
    assert Short(0).apply(spoken()) == spoken()


def test_an_empty_question_ends_it_and_an_empty_answer_takes_its_question_along() -> None:
    assert texts(Short().apply(spoken("a", "b", " \n", "d", "e", "f"))) == ["a", "b"]
    assert texts(Short().apply(spoken("a", "b", "c", "", "e", "f"))) == ["a", "b"]


def test_an_empty_first_turn_leaves_nothing() -> None:
    assert reason(Short().apply(spoken("", "b", "c", "d"))) == "too few rounds before an empty turn"


def test_an_empty_system_message_is_no_turn() -> None:
    dialogue = spoken("a", "b")
    dialogue = dialogue.with_messages([Message(SYSTEM, ""), *dialogue.messages])
    assert Short().apply(dialogue) is dialogue
