"""Dialogues for the tests of single stages."""

from __future__ import annotations

from typing import Any

from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, USER, Message


def spoken(*texts: str, first: str = USER, **fields: Any) -> Dialogue:
    """A dialogue of these texts, in turn by the user and the assistant."""
    roles = (USER, ASSISTANT) if first == USER else (ASSISTANT, USER)
    return Dialogue("d", tuple(Message(roles[n % 2], text) for n, text in enumerate(texts)), "f.jsonl:1", fields)


def texts(outcome: Outcome) -> list[str]:
    """What is said in the one dialogue that a stage left."""
    assert isinstance(outcome, Dialogue)
    return [message.content for message in outcome.messages]


def reason(outcome: Outcome) -> str:
    """Why a stage dropped a dialogue."""
    assert isinstance(outcome, Dropped)
    return outcome.reason
