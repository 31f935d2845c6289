"""How a conversation opens, and a number that hangs on that alone: dialogues with one opening are never told apart."""

from __future__ import annotations

import hashlib
import re

from platolm.conversation import USER, Conversation


def opening_of(conversation: Conversation) -> str:
    """The first user message, empty where there is none."""
    return next((message.content for message in conversation.messages if message.role == USER), "")


def normalised(text: str) -> str:
    """Lower case, letters and digits only, single spaces."""
    return " ".join(re.findall(r"\w+", text.lower()))


def fraction_of(key: str, *, salt: str) -> float:
    """A number in [0, 1) that depends on key and salt alone; the same on every machine."""
    digest = hashlib.sha256(f"{salt}:{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / 2**48


def is_held_out(conversation: Conversation, *, share: float, salt: str) -> bool:
    """Whether every conversation with this opening is held out; more data changes no conversation's side.

    Without a user's message, the first message is the opening; one without letters and digits counts as it is.
    """
    opening = opening_of(conversation) or next((message.content for message in conversation.messages), "")
    return fraction_of(normalised(opening) or opening.strip(), salt=salt) < share
