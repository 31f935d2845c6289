"""A conversation as a worker holds it: its recorded utterances, each side's view of them, and the record at the end."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from platolm import dataset
from platolm.conversation import ASSISTANT, USER, Message, TerminationReason, to_sharegpt
from platolm.dyadic import Turn
from platolm.endings import FinishReason, kept_turns
from platolm.runs import RunSpec, Seed, SideSpec, TurnEvent, given_utterances
from platolm.speakers import TokenSpeaker, Utterance


@dataclass(frozen=True)
class RecordedTurn:
    """One utterance, as the queue holds it."""

    role: str
    content: str
    finish_reason: FinishReason
    num_tokens: int
    num_prompt_tokens: int = 0
    sampling_seed: int | None = None
    duration_s: float = 0.0
    token_ids: list[int] | None = None
    at: float = 0.0

    def to_json(self) -> str:
        return orjson.dumps(asdict(self)).decode()

    @classmethod
    def from_json(cls, text: str) -> RecordedTurn:
        fields = orjson.loads(text)
        return cls(**{**fields, "finish_reason": FinishReason(fields["finish_reason"])})


@dataclass
class ConversationState:
    """All that a worker knows of a conversation. `sides` maps a role to its speaker."""

    id: str
    run_id: str
    index: int
    spec: RunSpec
    seed: Seed
    sides: Mapping[str, TokenSpeaker]
    turns: list[RecordedTurn] = field(default_factory=list)
    _views: dict[str, list[Turn]] = field(default_factory=lambda: {USER: [], ASSISTANT: []})

    @property
    def next_role(self) -> str:
        return ASSISTANT if self.turns and self.turns[-1].role == USER else USER

    def add(self, turn: RecordedTurn) -> None:
        """Take in an utterance; each side's ids of it are made once.

        A speaker sees its own utterances as the ids that it generated, so that its prompt is what its cache holds.
        """
        self.turns.append(turn)
        for role, speaker in self.sides.items():
            own_ids = turn.token_ids if role == turn.role else None
            ids = own_ids if own_ids is not None else speaker.tokenizer.encode(turn.content)
            self._views[role].append(Turn(turn.role, turn.content, ids))

    def prompt(self, role: str) -> list[int]:
        return self.sides[role].prompt(self._views[role])

    def seed_turns(self) -> list[RecordedTurn]:
        """The utterances that the run's seed gives, first question and perhaps its answer."""
        return [self._given_turn(role, content) for role, content in given_utterances(self.seed, self.spec.seed_mode)]

    def generated_turn(self, role: str, utterance: Utterance, sampling_seed: int) -> RecordedTurn:
        return RecordedTurn(
            role=role,
            content=utterance.content,
            finish_reason=utterance.finish_reason,
            num_tokens=len(utterance.token_ids),
            num_prompt_tokens=utterance.num_prompt_tokens,
            sampling_seed=sampling_seed,
            duration_s=utterance.duration_s,
            token_ids=utterance.token_ids,
            at=round(time.time(), 3),
        )

    def event(self, turn: RecordedTurn, turn_index: int) -> str:
        """The live event of an utterance, as JSON."""
        event = TurnEvent(
            conversation_id=self.id, index=self.index, turn_index=turn_index, role=turn.role, content=turn.content
        )
        return event.model_dump_json()

    def record(self, reason: TerminationReason) -> str:
        """The finished conversation as JSON, without what ended it."""
        kept = self.turns[: kept_turns(self.turns, reason)]
        record = dataset.ConversationRecord(
            id=self.id,
            run_id=self.run_id,
            index=self.index,
            conversations=to_sharegpt([Message(turn.role, turn.content) for turn in kept]),
            num_rounds=sum(turn.role == ASSISTANT for turn in kept),
            termination_reason=reason,
            simulator=_side_record(self.spec.simulator, self.sides[USER]),
            respondent=_side_record(self.spec.respondent, self.sides[ASSISTANT]),
            seed=self.spec.seed,
            seed_mode=self.spec.seed_mode,
            seed_line=self.seed.line,
            turns=[_turn_record(turn) for turn in kept],
            started_at=self.turns[0].at if self.turns else round(time.time(), 3),
            finished_at=round(time.time(), 3),
        )
        return record.model_dump_json()

    def _given_turn(self, role: str, content: str) -> RecordedTurn:
        num_tokens = len(self.sides[role].tokenizer.encode(content))
        return RecordedTurn(role, content, FinishReason.SEED, num_tokens, at=round(time.time(), 3))


def restore(state: ConversationState, recorded: Sequence[str]) -> None:
    """Take in the utterances that the queue holds already."""
    for text in recorded:
        state.add(RecordedTurn.from_json(text))


def _side_record(side: SideSpec, speaker: TokenSpeaker) -> dataset.SideRecord:
    sampling: dict[str, Any] = side.sampling.model_dump()
    return dataset.SideRecord(
        profile=side.profile, model=speaker.model, sampling=sampling, system_prompt=side.system_prompt
    )


def _turn_record(turn: RecordedTurn) -> dataset.TurnRecord:
    return dataset.TurnRecord(
        role=turn.role,
        num_tokens=turn.num_tokens,
        num_prompt_tokens=turn.num_prompt_tokens,
        finish_reason=turn.finish_reason,
        sampling_seed=turn.sampling_seed,
        duration_s=turn.duration_s,
        token_ids=turn.token_ids,
    )
