"""A dialogue's forms, and what its record says of turns that changed."""

from __future__ import annotations

import pytest

from curation.dialogue import Dialogue
from platolm.conversation import Message

QUESTION, ANSWER = Message("user", "q"), Message("assistant", "a")


def dialogue(**fields: object) -> Dialogue:
    return Dialogue("d1", (QUESTION, ANSWER), "a.jsonl:3", fields)


def test_a_record_has_the_turns_in_sharegpt_form_and_then_the_other_fields() -> None:
    record = dialogue(model="m", id="other", conversations=[]).as_record()
    assert list(record.items()) == [
        ("id", "d1"),
        ("conversations", [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]),
        ("model", "m"),
    ]


def test_equal_messages_give_the_same_object() -> None:
    before = dialogue()
    assert before.with_messages([Message("user", "q"), Message("assistant", "a")]) is before


def test_a_changed_turn_loses_its_token_ids_and_only_those() -> None:
    turns = [{"role": "user", "token_ids": [1, 2]}, {"role": "assistant", "token_ids": [3], "num_tokens": 1}]
    after = dialogue(turns=turns).with_messages([QUESTION, Message("assistant", "b")])
    assert after.fields["turns"] == [turns[0], {"role": "assistant", "token_ids": None, "num_tokens": 1}]
    assert list(dialogue(a=1, turns=turns, b=2).with_messages(after.messages).fields) == ["a", "turns", "b"]


THREE = (QUESTION, ANSWER, Message("user", "r"))
SAID_OF_THREE = [{"role": "user", "token_ids": [1]}, {"role": "assistant", "token_ids": [2]}, {"role": "user"}]


def three() -> Dialogue:
    return Dialogue("d1", THREE, "a.jsonl:3", {"turns": SAID_OF_THREE, "num_rounds": 1, "model": "m"})


def test_of_a_dialogue_that_lost_its_end_the_other_turns_stay_described() -> None:
    assert three().with_messages(THREE[:2]).fields == {"turns": SAID_OF_THREE[:2], "model": "m"}


@pytest.mark.parametrize("messages", [THREE[1:], (QUESTION, *THREE), (Message("user", "other"), ANSWER), ()])
def test_other_turns_take_what_was_said_of_them_along(messages: tuple[Message, ...]) -> None:
    assert three().with_messages(messages).fields.get("turns", []) == []
    assert three().with_messages(messages).fields["model"] == "m"
    assert "num_rounds" not in three().with_messages(messages).fields


def test_another_text_is_no_other_number_of_rounds() -> None:
    assert three().with_messages([QUESTION, Message("assistant", "b"), THREE[2]]).fields["num_rounds"] == 1


def test_another_spelling_of_a_role_is_the_same_text() -> None:
    after = three().with_messages([QUESTION, Message("gpt", "a"), THREE[2]])
    assert after.fields["turns"] == SAID_OF_THREE


@pytest.mark.parametrize("turns", [None, 3, "turns", [], [{}], [1, 2, 3], [{"token_ids": None}] * 3])
def test_a_field_of_that_name_may_hold_anything(turns: object) -> None:
    changed = Dialogue("d", THREE, "", {"turns": turns}).with_messages([Message("user", "x"), *THREE[1:]])
    assert changed.messages[0].content == "x"
    assert changed.fields == ({"turns": turns} if isinstance(turns, list) and len(turns) == 3 else {})


def test_added_fields_replace_those_of_the_same_name() -> None:
    assert dialogue(language="de", model="m").with_fields(language="en").fields == {"language": "en", "model": "m"}
