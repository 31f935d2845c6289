"""Dialogues with too little in them."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from curation.clean.refusals import before_question
from curation.clean.settings import StageName
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message


class Short:
    """Cut a dialogue before its first turn without text, and drop it with fewer rounds than are wanted.

    A round is a question with its answer. With an empty answer its question goes too.
    """

    name = StageName.SHORT.value

    def __init__(self, min_rounds: int = 1) -> None:
        self._min_rounds = min_rounds

    def apply(self, dialogue: Dialogue) -> Outcome:
        kept = _until_empty(dialogue.messages)
        rounds = num_rounds(kept)
        if rounds < self._min_rounds:
            reason = "too few rounds" if len(kept) == len(dialogue.messages) else "too few rounds before an empty turn"
            return Dropped(reason, f"{rounds} of {self._min_rounds}")
        return dialogue.with_messages(kept)


def num_rounds(messages: Sequence[Message]) -> int:
    """How many answers follow a question."""
    spoken = [message.role for message in messages if message.role != SYSTEM]
    return sum(pair == (USER, ASSISTANT) for pair in pairwise(spoken))


def _until_empty(messages: Sequence[Message]) -> Sequence[Message]:
    for position, message in enumerate(messages):
        if message.role != SYSTEM and not message.content.strip():
            return messages[:position] if message.role == USER else before_question(messages[:position])
    return messages
