"""Reading and writing conversations in their two outside forms."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import (
    ASSISTANT,
    SYSTEM,
    USER,
    Conversation,
    Message,
    from_openai,
    from_record,
    from_sharegpt,
    other_role,
    to_openai,
    to_sharegpt,
)
from platolm.errors import ConversationError

MESSAGES = st.lists(st.builds(Message, st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"]), st.text()))


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("human", USER),
        ("user", USER),
        ("Human", USER),
        ("gpt", ASSISTANT),
        ("chatgpt", ASSISTANT),
        ("assistant", ASSISTANT),
        ("bing", ASSISTANT),
        ("bard", ASSISTANT),
        ("system", SYSTEM),
        ("tool", "tool"),
        ("Function", "Function"),
    ],
)
def test_spellings_of_a_sharegpt_role(name: str, role: str) -> None:
    conversation = from_sharegpt({"id": "a", "conversations": [{"from": name, "value": "x"}]})
    assert conversation == Conversation("a", (Message(role, "x"),))


@given(MESSAGES)
def test_sharegpt_there_and_back(messages: list[Message]) -> None:
    record = {"id": "a", "conversations": to_sharegpt(messages)}
    assert from_record(record) == Conversation("a", tuple(messages))


@given(MESSAGES)
def test_openai_there_and_back(messages: list[Message]) -> None:
    record = {"id": "a", "messages": to_openai(messages)}
    assert from_record(record) == Conversation("a", tuple(messages))


def test_sharegpt_names_are_human_and_gpt() -> None:
    assert to_sharegpt([Message(USER, "a"), Message(ASSISTANT, "b"), Message("tool", "c")]) == [
        {"from": "human", "value": "a"},
        {"from": "gpt", "value": "b"},
        {"from": "tool", "value": "c"},
    ]


def test_openai_text_parts_are_joined() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    assert from_openai({"messages": [{"role": "user", "content": parts}]}).messages == (Message(USER, "ab"),)


@pytest.mark.parametrize(("identifier", "expected"), [("x", "x"), (7, "7"), (None, "default"), ("", "")])
def test_an_id_is_text_or_the_default(identifier: object, expected: str) -> None:
    assert from_sharegpt({"id": identifier, "conversations": []}, default_id="default").id == expected


def test_without_an_id_it_is_the_default() -> None:
    assert from_sharegpt({"conversations": []}, default_id="17").id == "17"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ([], "a JSON object, not list"),
        ("text", "a JSON object, not str"),
        ({}, "needs a list 'conversations'"),
        ({"conversations": None}, "needs a list 'conversations'"),
        ({"conversations": {"from": "human"}}, "needs a list 'conversations'"),
        ({"conversations": ["hello"]}, "turn 0 must be an object"),
        ({"conversations": [{"value": "x"}]}, "turn 0 needs a non-empty string 'from'"),
        ({"conversations": [{"from": "", "value": "x"}]}, "turn 0 needs a non-empty string 'from'"),
        ({"conversations": [{"from": "human"}]}, "turn 0 needs a string 'value'"),
        ({"conversations": [{"from": "human", "value": "x"}, {"from": "gpt", "value": None}]}, "turn 1 needs a string"),
        ({"messages": "hello"}, "needs a list 'messages'"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "a content part that is not text"),
        ({"messages": [{"role": "user", "content": None}]}, "turn 0 needs a string 'content'"),
    ],
)
def test_another_shape_is_named(record: Any, said: str) -> None:
    with pytest.raises(ConversationError, match=said):
        from_record(record)


def test_other_role() -> None:
    assert (other_role(USER), other_role(ASSISTANT)) == (ASSISTANT, USER)
    with pytest.raises(ValueError, match="system"):
        other_role(SYSTEM)
