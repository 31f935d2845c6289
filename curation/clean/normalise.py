"""Role names of every origin as `user`, `assistant` and `system`."""

from __future__ import annotations

from collections.abc import Mapping

from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SHAREGPT_ROLES, SYSTEM, USER, Message

ROLE_SPELLINGS: Mapping[str, str] = {
    **SHAREGPT_ROLES,
    "prompter": USER,
    "customer": USER,
    "ai": ASSISTANT,
    "bot": ASSISTANT,
    "model": ASSISTANT,
    "developer": SYSTEM,
}
"""Names in lower case."""

KNOWN_ROLES = frozenset({USER, ASSISTANT, SYSTEM})


class Roles:
    """The stage: names of roles made one; a dialogue with a further side (tools, functions, a narrator) is dropped.

    What such a side said is part of what the assistant answered to: without its turn the answer would not follow.
    """

    name = "roles"

    def apply(self, dialogue: Dialogue) -> Outcome:
        messages = [_named(message) for message in dialogue.messages]
        unknown = next((message.role for message in messages if message.role not in KNOWN_ROLES), None)
        if unknown is not None:
            return Dropped("unknown role", unknown)
        return dialogue.with_messages(messages)


def _named(message: Message) -> Message:
    if message.role in KNOWN_ROLES:
        return message
    return Message(ROLE_SPELLINGS.get(message.role.strip().lower(), message.role), message.content)
