"""How a simulator sees a conversation: its own role in it, thoughts hidden, turns of one role joined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, other_role
from platolm.dyadic import Turn
from platolm.simulators.cleaning import without_thoughts

JOINED_BY = "\n\n"
"""Stands between consecutive turns of one role, which become one."""

Part = str | Sequence[int]
"""A piece of a turn's content: text that is to be encoded, or ids as they were generated."""


class Orientation(StrEnum):
    """Which role the simulated user has in its own prompt."""

    REAL = "real"
    """The user is `user`, as trained user simulators have it."""
    INVERTED = "inverted"
    """The user is `assistant`: a chat model that plays a person answers as it always does."""
    DYADIC = "dyadic"
    """`Human:` and `Assistant:`, see `platolm.dyadic`."""

    def shown(self, role: str) -> str:
        """A role as it stands in the prompt."""
        return other_role(role) if self is Orientation.INVERTED and role in (USER, ASSISTANT) else role


@dataclass(frozen=True)
class ShownTurn:
    """A turn as the simulator sees it: the role of its prompt, and the parts of what is joined in it."""

    role: str
    parts: tuple[Part, ...]


@dataclass(frozen=True)
class View:
    """How a simulator sees a conversation; or a respondent, with `speaker` set to the assistant.

    `opener` is what the other side says before an inverted simulator's first utterance, which some chat models need
    to speak at all; it is in the prompt alone.
    """

    orientation: Orientation
    opener: str | None = None
    speaker: str = USER

    @property
    def own_role(self) -> str:
        """The speaker's role in the prompt."""
        return self.orientation.shown(self.speaker)

    def opening(self, first_role: str | None) -> list[ShownTurn]:
        """What stands before the first turn, whose role (of the conversation) is given; None: there is none yet."""
        if self.opener is None or first_role == ASSISTANT:
            return []
        return [ShownTurn(self.orientation.shown(ASSISTANT), (self.opener,))]

    def part(self, turn: Message | Turn) -> Part:
        """A turn's ids where they are known; else its text, an answer's without its thoughts for the other side."""
        if turn.role == SYSTEM:
            raise ValueError("a system message is told, not said: see told_and_spoken")
        if isinstance(turn, Turn) and turn.content_ids is not None:
            return turn.content_ids
        hides = turn.role == ASSISTANT and self.speaker != ASSISTANT
        return without_thoughts(turn.content) if hides else turn.content

    def shown(self, turns: Iterable[Message | Turn]) -> list[ShownTurn]:
        """A conversation without system messages; consecutive turns of one role are one."""
        turns = list(turns)
        shown = self.opening(turns[0].role if turns else None)
        for turn in turns:
            role, part = self.orientation.shown(turn.role), self.part(turn)
            if shown and shown[-1].role == role:
                shown[-1] = ShownTurn(role, (*shown[-1].parts, part))
            else:
                shown.append(ShownTurn(role, (part,)))
        return shown


def chat_messages(turns: Iterable[Message | Turn], view: View, system_text: str | None) -> list[dict[str, str]]:
    """The messages of a chat request after which the simulator speaks; generated ids are shown by their text."""
    texts = [Message(turn.role, turn.content) for turn in turns]
    messages = [{"role": SYSTEM, "content": system_text}] if system_text else []
    for turn in view.shown(texts):
        parts = [part for part in turn.parts if isinstance(part, str)]
        messages.append({"role": turn.role, "content": _joined(parts)})
    return messages


def _joined(parts: Sequence[str]) -> str:
    return JOINED_BY.join(part for part in parts if part)
