"""A sample of conversations that is the same however the data was cut up and whoever read it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest

from curation.dialogue import Dialogue
from platolm.conversation import USER, Message
from platolm.seed_modes import given_positions

MAX_TURN_CHARS = 24_000
"""Of a longer turn the sample keeps the beginning, so that its memory does not depend on the data."""

_BYTES = 8


@dataclass(frozen=True, slots=True)
class Sampled:
    """A conversation with its place in the lottery: those with the smallest numbers are the sample."""

    number: int
    id: str
    messages: tuple[Message, ...]
    given: frozenset[int] = frozenset()
    """Positions of turns that nobody who is measured said."""

    @property
    def questions(self) -> list[str]:
        """The user's turns that are not blank."""
        said = [one for position, one in enumerate(self.messages) if position not in self.given]
        return [one.content for one in said if one.role == USER and one.content.strip()]

    @property
    def opening(self) -> str | None:
        """The user's first turn; None where there is none."""
        return next((one.content for one in self.messages if one.role == USER), None)


def sampled(number: int, dialogue: Dialogue) -> Sampled:
    """A dialogue that drew a number."""
    messages = (
        one if len(one.content) <= MAX_TURN_CHARS else Message(one.role, one.content[:MAX_TURN_CHARS])
        for one in dialogue.messages
    )
    return Sampled(number, dialogue.id, tuple(messages), given_positions(dialogue.fields))


def lot(seed: int, part: int, position: int) -> int:
    """The number that the conversation at a position of a part of the data has drawn."""
    return int.from_bytes(blake2b(f"{seed}/{part}/{position}".encode(), digest_size=_BYTES).digest())


def drawn(candidates: Iterable[Sampled], size: int) -> list[Sampled]:
    """The sample of so many, in the order of their numbers; of parts' samples, the sample of the whole."""
    return nsmallest(size, candidates, key=lambda one: one.number)
