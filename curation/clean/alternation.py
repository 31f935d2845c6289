"""Dialogues in which user and assistant take turns, the user first, as far as they can be had without inventing."""

from __future__ import annotations

from collections.abc import Sequence

from curation.clean.normalise import KNOWN_ROLES
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message

BETWEEN_MERGED = "\n\n"
"""What stands between two utterances that became one turn; their own text stays as it was."""


class Alternation:
    """The stage: blank turns and leading answers go, consecutive turns of one role become one; else it is dropped.

    Messages of `system` stand before all others, and become one. A closing turn of the user stays: it is something
    that a person said.
    """

    name = "alternation"

    def apply(self, dialogue: Dialogue) -> Outcome:
        spoken = [message for message in dialogue.messages if message.content.strip()]
        num_system = next((n for n, message in enumerate(spoken) if message.role != SYSTEM), len(spoken))
        system, turns = spoken[:num_system], _from_user(spoken[num_system:])
        if not turns:
            return Dropped("no user turn")
        for message in turns:
            if message.role not in KNOWN_ROLES:
                return Dropped("unknown role", message.role)
            if message.role == SYSTEM:
                return Dropped("system message amid the turns", message.content)
        return dialogue.with_messages([*_merged(system), *_merged(turns)])


def _from_user(turns: Sequence[Message]) -> Sequence[Message]:
    """Without the answers before the user's first turn."""
    first = next((n for n, message in enumerate(turns) if message.role != ASSISTANT), len(turns))
    return turns[first:] if any(message.role == USER for message in turns[first:]) else []


def _merged(messages: Sequence[Message]) -> list[Message]:
    """One turn of each run of one role; an utterance that only says the one before it again is left out."""
    merged: list[Message] = []
    before: Message | None = None
    for message in messages:
        if message == before:
            continue
        if merged and merged[-1].role == message.role:
            merged[-1] = Message(message.role, merged[-1].content + BETWEEN_MERGED + message.content)
        else:
            merged.append(message)
        before = message
    return merged
