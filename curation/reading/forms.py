"""One record, parsed from JSON or a row of Parquet, as the dialogues in it; its form is told by its keys."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from curation.dialogue import Dialogue
from curation.reading.json_lines import TOO_DEEP
from curation.reading.origins import default_id as default_id
from curation.reading.trees import paths_of
from platolm.conversation import ASSISTANT, SHAREGPT_ROLES, Message
from platolm.errors import BadLine, ConversationError


class Form(StrEnum):
    """What a record looks like; `--from` names one, else each record says it by its keys."""

    SHAREGPT = "sharegpt"
    OPENAI = "openai"
    WILDCHAT = "wildchat"
    OASST = "oasst"


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A record that holds no dialogue; `origin` is "file:line"."""

    origin: str
    reason: str


LIST_KEYS: Mapping[Form, tuple[str, ...]] = {
    Form.SHAREGPT: ("conversations", "items"),
    Form.OPENAI: ("messages",),
    Form.WILDCHAT: ("conversation",),
}
"""Under which key a form has its turns."""

ID_KEYS = ("id", "conversation_id", "conversation_hash", "session_id")
ROLE_KEYS = ("from", "role", "speaker")
TEXT_KEYS = ("value", "content", "text", "markdown")
FUNCTION_CALL = "function_call"
"""The role of an assistant's message that says nothing and calls functions."""


def dialogues_of(record: Any, origin: str, *, form: str | None = None) -> Iterator[Dialogue | Unreadable]:
    """The dialogues of one record: one, or of an OASST tree one for each path from its root to a leaf.

    `origin` is "file:line"; a record without an id gets it as its id, without the file's folder. `form` is a `Form`,
    None where the keys are to tell. Nothing that a record holds raises an error.

    Raises:
        ValueError: `form` names no form.
    """
    if isinstance(record, BadLine):
        yield Unreadable(origin, record.reason)
        return
    try:
        yield from _dialogues(record, origin, None if form is None else Form(form))
    except ConversationError as error:
        yield Unreadable(origin, str(error))
    except RecursionError:
        yield Unreadable(origin, TOO_DEEP)


def form_of(record: Mapping[str, Any]) -> Form | None:
    """The form that the record's keys tell of; None where none does."""
    if isinstance(record.get("prompt"), Mapping):
        return Form.OASST
    return next((form for form, keys in LIST_KEYS.items() for key in keys if isinstance(record.get(key), list)), None)


def _dialogues(record: Any, origin: str, form: Form | None) -> Iterator[Dialogue]:
    if not isinstance(record, Mapping):
        raise ConversationError(f"a record must be a JSON object, not {type(record).__name__}")
    form = form or form_of(record)
    if form is None:
        raise ConversationError(_no_form(record))
    if form is Form.OASST:
        yield from paths_of(record, origin)
        return
    key = next((key for key in LIST_KEYS[form] if isinstance(record.get(key), list)), None)
    if key is None:
        raise ConversationError(f"a record of form {form} needs a list {' or '.join(map(repr, LIST_KEYS[form]))}")
    messages = tuple(_message(turn, position) for position, turn in enumerate(record[key]))
    id_key = next((name for name in ID_KEYS if _is_id(record.get(name))), None)
    identifier = default_id(origin) if id_key is None else str(record[id_key])
    others = {name: value for name, value in record.items() if name not in (key, id_key, "id", "conversations")}
    yield Dialogue(identifier, messages, origin, others)


def _is_id(value: Any) -> bool:
    return value != "" and isinstance(value, str | int | float)


def _no_form(record: Mapping[str, Any]) -> str:
    if "message_id" in record and "parent_id" in record:
        return "one message of an OASST tree: give the file of trees"
    keys = ", ".join(key for keys in LIST_KEYS.values() for key in keys)
    return f"no list under any of {keys}, and no OASST prompt"


def _message(turn: Any, position: int) -> Message:
    if not isinstance(turn, Mapping):
        raise ConversationError(f"turn {position} must be an object, not {type(turn).__name__}")
    role = next((turn[key] for key in ROLE_KEYS if isinstance(turn.get(key), str) and turn[key]), None)
    if role is None:
        raise ConversationError(f"turn {position} needs a non-empty string under one of {', '.join(ROLE_KEYS)}")
    role = SHAREGPT_ROLES.get(role.lower(), role)
    calls = turn.get("tool_calls") or turn.get("function_call")
    if role == ASSISTANT and calls and not turn.get("content"):
        return Message(FUNCTION_CALL, json.dumps(calls, ensure_ascii=False))
    return Message(role, _text(turn, position))


def _text(turn: Mapping[str, Any], position: int) -> str:
    for key in TEXT_KEYS:
        value = turn.get(key)
        if isinstance(value, str):
            return value
        if isinstance(value, list):
            return "".join(_part(part, position) for part in value)
    raise ConversationError(f"turn {position} needs a string under one of {', '.join(TEXT_KEYS)}")


def _part(part: Any, position: int) -> str:
    if isinstance(part, str):
        return part
    if isinstance(part, Mapping) and part.get("type") == "text" and isinstance(part.get("text"), str):
        return str(part["text"])
    raise ConversationError(f"turn {position} has a part that is not text")
