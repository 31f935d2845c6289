"""A talk as its person holds it: what was said, and what to ask for next. The server keeps none of it."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dialogues_api import (
    DialogueMessage,
    DialogueRequest,
    DialogueSide,
    DialogueTurn,
    Role,
    TalkRequest,
    TalkTurn,
)
from platolm.errors import InputError

STOPPED = "stopped"
GIVEN = "seed"


@dataclass
class Talk:
    """`person` is the role that a person speaks, None where both models speak.

    `num_turns` is how many utterances the two models make before they are asked to go on.
    """

    person: str | None
    num_turns: int = 1
    seed: int | None = None
    turns: list[TalkTurn] = field(default_factory=list)
    sides: dict[str, DialogueSide] = field(default_factory=lambda: {USER: DialogueSide(), ASSISTANT: DialogueSide()})
    ended: TerminationReason | None = None
    session_id: str = field(default_factory=lambda: f"chat-{secrets.token_hex(12)}")
    started_at: float = field(default_factory=time.time)
    _num_tries: int = 0

    @property
    def next_role(self) -> Role:
        """Whose turn it is."""
        return "assistant" if self.turns and self.turns[-1].role == USER else "user"

    @property
    def is_persons_turn(self) -> bool:
        return self.next_role == self.person

    def open(self, text: str) -> None:
        """Begin with a user's message."""
        self._add(TalkTurn(role=USER, content=text))

    def say(self, text: str) -> TalkTurn:
        """Take in what a person says, for whichever side is next where both are models.

        Raises:
            InputError: it is the model's turn.
        """
        if self.person is not None and not self.is_persons_turn:
            raise InputError("it is the model's turn: press Enter to ask it, or /undo to take back what you said")
        return self._add(TalkTurn(role=self.next_role, content=text))

    def hear(self, turn: DialogueTurn) -> TalkTurn:
        """Take in a model's utterance."""
        return self._add(TalkTurn.model_validate(turn.model_dump()))

    def hear_stopped(self, text: str, model: str | None) -> TalkTurn:
        """Take in what a model had said when it was stopped."""
        return self._add(TalkTurn(role=self.next_role, content=text, finish_reason=STOPPED, model=model))

    def _add(self, turn: TalkTurn) -> TalkTurn:
        self.turns.append(turn)
        self.ended = None
        return turn

    def forget_last_utterance(self) -> None:
        """Make room for another try at the model's last utterance.

        Raises:
            InputError: the last one is a person's.
        """
        if not self.turns or self.turns[-1].finish_reason == GIVEN:
            raise InputError("there is no utterance of a model at the end to make again")
        self.turns.pop()
        self.ended = None
        self._num_tries += 1

    def undo(self) -> int:
        """Take back the last turn, and further ones until it is the person's turn; gives how many.

        Raises:
            InputError: nothing was said.
        """
        if not self.turns:
            raise InputError("nothing was said yet")
        before = len(self.turns)
        self.turns.pop()
        while self.turns and self.person is not None and not self.is_persons_turn:
            self.turns.pop()
        self.ended = None
        return before - len(self.turns)

    def edit(self, number: int, text: str) -> TalkTurn:
        """Put another text in place of turn `number` (from 1), which becomes a person's; what followed it goes.

        Raises:
            InputError: there is no such turn.
        """
        if not 1 <= number <= len(self.turns):
            raise InputError(f"there is no turn {number}: there are {len(self.turns)}")
        role = self.turns[number - 1].role
        del self.turns[number - 1 :]
        return self._add(TalkTurn(role=role, content=text))

    def request(self) -> DialogueRequest:
        """What to ask the API for."""
        return DialogueRequest(
            messages=[DialogueMessage(role=turn.role, content=turn.content) for turn in self.turns],
            num_turns=1 if self.person is not None else self.num_turns,
            simulator=self.sides[USER],
            respondent=self.sides[ASSISTANT],
            seed=None if self.seed is None else self.seed + self._num_tries,
            session_id=self.session_id,
        )

    def to_save(self, title: str | None) -> TalkRequest:
        """The talk as the API takes it into the dataset.

        Raises:
            InputError: nothing was said.
        """
        if not self.turns:
            raise InputError("nothing was said yet: there is nothing to save")
        return TalkRequest(
            turns=self.turns,
            simulator=self.sides[USER],
            respondent=self.sides[ASSISTANT],
            termination_reason=self.ended,
            title=title or None,
            seed=self.seed or 0,
            started_at=self.started_at,
        )
