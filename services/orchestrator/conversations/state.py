"""A conversation as a worker holds it: its recorded utterances, each side's view of them, and the record at the end."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dyadic import PromptIds
from platolm.endings import FinishReason, kept_turns
from platolm.speakers import TokenSpeaker, Utterance
from platolm.spec import RunSpec, Seed, SideSpec, given_utterances, simulator_system_prompt

HELD_MARGIN = 1.25

_SHAREGPT_NAMES = {USER: "human", ASSISTANT: "gpt"}


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One utterance, as the queue holds it.

    `token_ids` are as generated, without the eos; None for a given turn, and in a `ConversationState`, which keeps them
    in its prompts.
    """

    role: str
    content: str
    finish_reason: FinishReason
    num_tokens: int
    num_prompt_tokens: int = 0
    sampling_seed: int | None = None
    duration_s: float = 0.0
    token_ids: list[int] | None = None
    at: float = 0.0
    num_cached_tokens: int | None = None

    def to_json(self) -> str:
        return orjson.dumps(self).decode()

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
    _prompts: dict[str, PromptIds] = field(init=False)
    _generated: dict[int, slice] = field(default_factory=dict)
    """By turn, where its generated ids lie in its speaker's prompt."""

    def __post_init__(self) -> None:
        self._prompts = {role: speaker.new_prompt(self.system_prompt(role)) for role, speaker in self.sides.items()}

    def system_prompt(self, role: str) -> str | None:
        """What a side is told besides its header."""
        if role == ASSISTANT:
            return self.spec.respondent.system_prompt
        return simulator_system_prompt(self.spec.simulator, self.seed, self.spec.seed_mode)

    @property
    def next_role(self) -> str:
        return ASSISTANT if self.turns and self.turns[-1].role == USER else USER

    @property
    def held_tokens(self) -> int:
        """What the conversation held of a KV cache: the mean over its utterances, and a margin for fluctuation.

        Conversations in flight are of all ages, so that their caches sum to the mean size times their number, not to
        the final size.
        """
        sizes = [turn.num_prompt_tokens + turn.num_tokens for turn in self.turns if turn.num_prompt_tokens]
        mean = sum(sizes) / len(sizes) if sizes else max(len(prompt) for prompt in self._prompts.values())
        return math.ceil(HELD_MARGIN * mean)

    def add(self, turn: RecordedTurn) -> None:
        """Take in an utterance; each side's ids of it are made once.

        A speaker sees its own utterances as the ids that it generated, so that its prompt is what its cache holds.
        """
        position = len(self.turns)
        for role, speaker in self.sides.items():
            own_ids = turn.token_ids if role == turn.role else None
            ids = own_ids if own_ids is not None else speaker.tokenizer.encode(turn.content)
            where = self._prompts[role].add(turn.role, ids)
            if own_ids is not None:
                self._generated[position] = where
        self.turns.append(turn if turn.token_ids is None else replace(turn, token_ids=None))

    def token_ids(self, position: int) -> list[int] | None:
        """The ids of a turn as they were generated; None for a given turn."""
        where = self._generated.get(position)
        return None if where is None else self._prompts[self.turns[position].role].content_ids(where)

    def turn_json(self, position: int) -> str:
        """A turn as the queue holds it."""
        return replace(self.turns[position], token_ids=self.token_ids(position)).to_json()

    def room(self, role: str) -> int:
        """Tokens that this side's next utterance may take; none or less: the context is full."""
        return self.sides[role].room(self._prompts[role])

    def prompt(self, role: str) -> PromptIds:
        """What this side is asked with next. It grows with the conversation: ask for its `ids()` when sending."""
        return self._prompts[role]

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
            num_cached_tokens=utterance.num_cached_tokens,
        )

    def record(self, reason: TerminationReason) -> str:
        """The finished conversation as JSON (a `platolm.dataset.ConversationRecord`), without what ended it."""
        kept = self.turns[: kept_turns(self.turns, reason)]
        record = {
            "id": self.id,
            "run_id": self.run_id,
            "index": self.index,
            "conversations": [{"from": _SHAREGPT_NAMES[turn.role], "value": turn.content} for turn in kept],
            "num_rounds": sum(turn.role == ASSISTANT for turn in kept),
            "termination_reason": reason,
            "simulator": _side_record(self.spec.simulator, self.sides[USER], self.system_prompt(USER)),
            "respondent": _side_record(self.spec.respondent, self.sides[ASSISTANT], self.system_prompt(ASSISTANT)),
            "seed": self.spec.seed,
            "seed_mode": self.spec.seed_mode,
            "seed_line": self.seed.line,
            "turns": [self._turn_record(position) for position in range(len(kept))],
            "started_at": self.turns[0].at if self.turns else round(time.time(), 3),
            "finished_at": round(time.time(), 3),
        }
        return orjson.dumps(record).decode()

    def _turn_record(self, position: int) -> dict[str, Any]:
        turn = self.turns[position]
        return {
            "role": turn.role,
            "num_tokens": turn.num_tokens,
            "num_prompt_tokens": turn.num_prompt_tokens,
            "num_cached_tokens": turn.num_cached_tokens,
            "finish_reason": turn.finish_reason,
            "sampling_seed": turn.sampling_seed,
            "duration_s": turn.duration_s,
            "token_ids": self.token_ids(position),
        }

    def _given_turn(self, role: str, content: str) -> RecordedTurn:
        num_tokens = len(self.sides[role].tokenizer.encode(content))
        return RecordedTurn(role, content, FinishReason.SEED, num_tokens, at=round(time.time(), 3))


def restore(state: ConversationState, recorded: Sequence[str]) -> None:
    """Take in the utterances that the queue holds already."""
    for text in recorded:
        state.add(RecordedTurn.from_json(text))


def _side_record(side: SideSpec, speaker: TokenSpeaker, system_prompt: str | None) -> dict[str, Any]:
    return {
        "profile": side.profile,
        "model": speaker.model,
        "sampling": side.sampling.model_dump(),
        "system_prompt": system_prompt,
    }
