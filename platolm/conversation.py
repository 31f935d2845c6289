"""What a conversation is: messages with roles, why it ended, and its forms at the edges (ShareGPT, OpenAI)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from platolm.errors import ConversationError

USER = "user"
ASSISTANT = "assistant"
SYSTEM = "system"

SHAREGPT_ROLES: Mapping[str, str] = {
    "human": USER,
    "user": USER,
    "gpt": ASSISTANT,
    "assistant": ASSISTANT,
    "chatgpt": ASSISTANT,
    "bing": ASSISTANT,
    "bard": ASSISTANT,
    "system": SYSTEM,
}
"""Spellings of a ShareGPT `from`; any other name is kept as an unknown role."""

_SHAREGPT_NAMES: Mapping[str, str] = {USER: "human", ASSISTANT: "gpt"}


class TerminationReason(StrEnum):
    """Why a conversation ended. Never a magic string in the text itself."""

    CONTEXT_FULL = "context_full"
    """The next utterance would not fit into the context."""
    USER_ENDED = "user_ended"
    """The simulator said goodbye, in its profile's own way or by the run's threshold."""
    STOP_PHRASE = "stop_phrase"
    """The user said one of the run's stop phrases."""
    TURN_LIMIT = "turn_limit"
    """It has as many turns as the run allows."""
    REPETITION = "repetition"
    """A speaker repeated an earlier utterance, or looped within one."""
    EMPTY = "empty"
    """An utterance was blank."""
    GOODBYE_LOOP = "goodbye_loop"
    """Both sides did nothing but say goodbye to each other."""
    SEED_EXHAUSTED = "seed_exhausted"
    """The seed gives every user turn, and all of them are answered."""
    UNUSABLE = "unusable"
    """The simulator kept giving itself away; that utterance is left out."""
    CANCELLED = "cancelled"
    """It was broken off: a saved talk that came to no end of its own."""
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Message:
    """One utterance. `role` is `user`, `assistant`, `system`, or an unknown role kept by its own name."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Conversation:
    """Messages in order, under an id."""

    id: str
    messages: tuple[Message, ...] = field(default=())


def other_role(role: str) -> str:
    """The other side of a two-sided dialogue: user ↔ assistant."""
    if role == USER:
        return ASSISTANT
    if role == ASSISTANT:
        return USER
    raise ValueError(f"role {role!r} has no other side")


def from_sharegpt(record: Any, *, default_id: str = "") -> Conversation:
    """Read `{"id", "conversations": [{"from", "value"}, ...]}`.

    Raises:
        ConversationError: the record or one of its turns has another shape.
    """
    turns = _list_field(record, "conversations")
    messages = []
    for position, turn in enumerate(turns):
        name, value = _text_fields(turn, position, "from", "value")
        messages.append(Message(SHAREGPT_ROLES.get(name.lower(), name), value))
    return Conversation(_identifier(record, default_id), tuple(messages))


def to_sharegpt(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The `conversations` value of a ShareGPT record."""
    return [{"from": _SHAREGPT_NAMES.get(m.role, m.role), "value": m.content} for m in messages]


def from_openai(record: Any, *, default_id: str = "") -> Conversation:
    """Read `{"messages": [{"role", "content"}, ...]}`; content may be a string or a list of text parts.

    Raises:
        ConversationError: the record or one of its messages has another shape.
    """
    messages = []
    for position, message in enumerate(_list_field(record, "messages")):
        if isinstance(message, Mapping) and isinstance(message.get("content"), list):
            message = {**message, "content": _joined_parts(message["content"], position)}
        role, content = _text_fields(message, position, "role", "content")
        messages.append(Message(role, content))
    return Conversation(_identifier(record, default_id), tuple(messages))


def to_openai(messages: Sequence[Message]) -> list[dict[str, str]]:
    """The `messages` value of an OpenAI request or training record."""
    return [{"role": m.role, "content": m.content} for m in messages]


def from_record(record: Any, *, default_id: str = "") -> Conversation:
    """Read either form, told apart by its key.

    Raises:
        ConversationError: neither `conversations` nor `messages` is there, or its value has another shape.
    """
    if isinstance(record, Mapping) and "messages" in record and "conversations" not in record:
        return from_openai(record, default_id=default_id)
    return from_sharegpt(record, default_id=default_id)


def _list_field(record: Any, key: str) -> list[Any]:
    if not isinstance(record, Mapping):
        raise ConversationError(f"a record must be a JSON object, not {type(record).__name__}")
    value = record.get(key)
    if not isinstance(value, list):
        raise ConversationError(f"a record needs a list {key!r}")
    return value


def _text_fields(turn: Any, position: int, role_key: str, text_key: str) -> tuple[str, str]:
    if not isinstance(turn, Mapping):
        raise ConversationError(f"turn {position} must be an object with {role_key!r} and {text_key!r}")
    role, text = turn.get(role_key), turn.get(text_key)
    if not isinstance(role, str) or not role:
        raise ConversationError(f"turn {position} needs a non-empty string {role_key!r}")
    if not isinstance(text, str):
        raise ConversationError(f"turn {position} needs a string {text_key!r}")
    return role, text


def _joined_parts(parts: list[Any], position: int) -> str:
    texts = []
    for part in parts:
        if not isinstance(part, Mapping) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ConversationError(f"turn {position} has a content part that is not text")
        texts.append(part["text"])
    return "".join(texts)


def _identifier(record: Mapping[str, Any], default_id: str) -> str:
    identifier = record.get("id", default_id)
    return str(identifier) if identifier is not None else default_id
