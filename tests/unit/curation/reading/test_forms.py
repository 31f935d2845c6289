"""One record's dialogues, whatever its form; nothing that a record holds raises an error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.dialogue import Dialogue
from curation.reading import Form, Unreadable, dialogues_of
from platolm.conversation import Message
from platolm.errors import BadLine

TURNS = (Message("user", "q"), Message("assistant", "a"))
ORIGIN = "data/a.jsonl:7"


def only(record: Any, form: str | None = None) -> Dialogue | Unreadable:
    (found,) = dialogues_of(record, ORIGIN, form=form)
    return found


@pytest.mark.parametrize(
    "record",
    [
        {"id": "x", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {"id": "x", "items": [{"from": "Human", "value": "q"}, {"from": "ChatGPT", "value": "a"}]},
        {"id": "x", "conversations": [{"from": "user", "value": "q"}, {"from": "bing", "value": None, "text": "a"}]},
        {"id": "x", "conversations": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"id": "x", "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
        {"session_id": "x", "conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
        {
            "conversation_id": "x",
            "conversation": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}],
        },
        {
            "conversation_hash": "x",
            "conversation": [{"role": "user", "content": "q", "toxic": False}, {"role": "assistant", "content": "a"}],
        },
    ],
    ids=["sharegpt", "items", "null value", "openai turns", "openai", "session", "lmsys", "wildchat"],
)
def test_each_form_gives_the_same_dialogue(record: dict[str, Any]) -> None:
    found = only(record)
    assert isinstance(found, Dialogue)
    assert (found.id, found.messages, found.origin) == ("x", TURNS, ORIGIN)


def test_what_else_a_record_has_is_kept_and_keys_of_its_form_are_not() -> None:
    found = only({"conversation_id": 5, "conversation": [], "model": "m", "language": "English", "toxic": False})
    assert found == Dialogue("5", (), ORIGIN, {"model": "m", "language": "English", "toxic": False})


def test_a_record_without_an_id_is_named_by_its_place_without_the_folder() -> None:
    found = only({"id": None, "conversations": []})
    assert isinstance(found, Dialogue)
    assert found.id == "a.jsonl:7"


@pytest.mark.parametrize("nonsense", [{"a": 1}, [1], ""])
def test_what_is_no_name_is_no_id(nonsense: Any) -> None:
    found = only({"id": nonsense, "conversation_id": 5, "conversations": []})
    assert isinstance(found, Dialogue)
    assert found.id == "5"


def test_what_is_nested_too_deeply_is_named() -> None:
    deep: list[Any] = []
    for _ in range(5_000):
        deep = [deep]
    calls = {"messages": [{"role": "assistant", "content": None, "tool_calls": deep}]}
    assert only(calls) == Unreadable(ORIGIN, "nested too deeply")


def test_parts_of_text_are_joined_and_unknown_roles_kept() -> None:
    parts = [{"type": "text", "text": "a"}, "b"]
    found = only({"messages": [{"role": "tool", "content": parts}]})
    assert isinstance(found, Dialogue)
    assert found.messages == (Message("tool", "ab"),)


def test_an_answer_that_only_calls_functions_has_a_role_of_its_own() -> None:
    calls = [{"function": {"name": "f", "arguments": "{}"}}]
    found = only({"messages": [{"role": "assistant", "content": None, "tool_calls": calls}]})
    assert isinstance(found, Dialogue)
    assert found.messages == (Message("function_call", '[{"function": {"name": "f", "arguments": "{}"}}]'),)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ("text", "a record must be a JSON object, not str"),
        ({"a": 1}, "no list under any of conversations, items, messages, conversation, and no OASST prompt"),
        ({"message_id": "m", "parent_id": "p"}, "one message of an OASST tree: give the file of trees"),
        ({"conversations": ["q"]}, "turn 0 must be an object, not str"),
        ({"conversations": [{"value": "q"}]}, "turn 0 needs a non-empty string under one of from, role, speaker"),
        (
            {"messages": [{"role": "user", "content": 1}]},
            "turn 0 needs a string under one of value, content, text, markdown",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "turn 0 has a part that is not text"),
        (
            {"prompt": {"text": "q", "role": "prompter", "replies": 3}},
            "an OASST message's replies must be a list of objects",
        ),
        (BadLine(7, "not JSON"), "not JSON"),
    ],
)
def test_what_holds_no_dialogue_is_named_with_its_place_and_the_reason(record: Any, reason: str) -> None:
    assert only(record) == Unreadable(ORIGIN, reason)


def test_a_forced_form_reads_its_own_key_alone() -> None:
    record = {"messages": [{"role": "user", "content": "q"}], "conversations": []}
    forced = only(record, form="openai")
    assert isinstance(forced, Dialogue)
    assert forced.messages == (Message("user", "q"),)
    assert only(record, form="wildchat") == Unreadable(ORIGIN, "a record of form wildchat needs a list 'conversation'")
    with pytest.raises(ValueError, match="nonsense"):
        list(dialogues_of(record, ORIGIN, form="nonsense"))


KEYS = st.sampled_from(
    ["conversations", "messages", "conversation", "prompt", "replies", "from", "role", "value", "content", "text", "id"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(["user", "gpt"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS | st.text(max_size=4), inner, max_size=5),
    max_leaves=20,
)


@given(record=JSON, form=st.none() | st.sampled_from(list(Form)))
def test_no_record_raises_an_error(record: Any, form: Form | None) -> None:
    for found in dialogues_of(record, ORIGIN, form=form):
        assert found.origin == ORIGIN
        if isinstance(found, Dialogue):
            assert all(isinstance(m.role, str) and isinstance(m.content, str) for m in found.messages)
            assert isinstance(found.id, str)
        else:
            assert found.reason
