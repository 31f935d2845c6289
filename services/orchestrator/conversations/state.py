"""A conversation as a worker holds it: its recorded utterances, each side's view of them, and the record at the end."""

from __future__ import annotations

import time
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import orjson

from platolm.chat_apis.prompt import ChatPrompt
from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason, goodbye_at, kept_turns
from platolm.reservation import held_tokens
from platolm.seed_modes import SeedMode
from platolm.simulators.cleaning import Cleaned, End
from platolm.simulators.guardrails import Fault
from platolm.simulators.told import Told
from platolm.spec import RunSpec, Seed, given_utterances, told_of
from platolm.utterances import GrowingPrompt, Speaker, Utterance

_SHAREGPT_NAMES = {USER: "human", ASSISTANT: "gpt"}


@dataclass(frozen=True, slots=True)
class Remarks:
    """What is to be said of few utterances only, so that the others need no room for it.

    `end` is how it says that it is the last, `fault` what was still wrong with it when it could not be made again,
    `faults` what was found in all tries at it, `api` the chat API that said it, by the operator's name.
    """

    end: End | None = None
    fault: Fault | None = None
    faults: list[Fault] | None = None
    goodbye_probability: float | None = None
    api: str | None = None

    def said(self) -> dict[str, Any]:
        """Those that say something, by name."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}

    @classmethod
    def taken_from(cls, fields: dict[str, Any]) -> Remarks | None:
        """Take them out of a turn's JSON; None where there are none."""
        said = {name: value for name in cls.__slots__ if (value := fields.pop(name, None)) is not None}
        if not said:
            return None
        kinds = {"end": End, "fault": Fault}
        said |= {name: kind(said[name]) for name, kind in kinds.items() if name in said}
        if "faults" in said:
            said["faults"] = list(map(Fault, said["faults"]))
        return cls(**said)


_NO_REMARKS = Remarks()


@dataclass(frozen=True, slots=True)
class RecordedTurn:
    """One utterance, as the queue holds it.

    `token_ids` are as generated, without what ended the turn; None for a given turn, for one of which more was taken
    away than white space, and in a `ConversationState`, which keeps them in its prompts.
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
    remarks: Remarks | None = None

    @property
    def end(self) -> End | None:
        return None if self.remarks is None else self.remarks.end

    @property
    def fault(self) -> Fault | None:
        return None if self.remarks is None else self.remarks.fault

    @property
    def api(self) -> str | None:
        return None if self.remarks is None else self.remarks.api

    def with_faults(self, faults: list[Fault]) -> RecordedTurn:
        """The same, with what was found in all tries at it."""
        return replace(self, remarks=replace(self.remarks or _NO_REMARKS, faults=faults))

    def to_json(self) -> str:
        """JSON of one level, without remarks that say nothing, since Redis holds it for every turn."""
        fields = {name: getattr(self, name) for name in self.__slots__}
        remarks = fields.pop("remarks")
        return orjson.dumps(fields if remarks is None else fields | remarks.said()).decode()

    @classmethod
    def from_json(cls, text: str) -> RecordedTurn:
        """What `to_json` wrote, or an earlier version of it."""
        fields = orjson.loads(text)
        fields["finish_reason"] = FinishReason(fields["finish_reason"])
        return cls(remarks=Remarks.taken_from(fields), **fields)


@dataclass
class ConversationState:
    """All that a worker knows of a conversation. `sides` maps a role to its speaker."""

    id: str
    run_id: str
    index: int
    spec: RunSpec
    seed: Seed
    sides: Mapping[str, Speaker]
    turns: list[RecordedTurn] = field(default_factory=list)
    _told: dict[str, Told] = field(init=False)
    _given: Sequence[tuple[str, str]] = field(init=False)
    _prompts: dict[str, GrowingPrompt] = field(init=False)
    _generated: array[int] = field(default_factory=lambda: array("i"))
    """For each turn where its generated ids lie in its speaker's prompt, begin and end; -1, -1 where it has none."""

    def __post_init__(self) -> None:
        mode = self.spec.seed_mode
        self._told = {role: told_of(self.spec.side(role), self.seed, mode) for role in self.sides}
        self._given = given_utterances(self.seed, mode)
        self._prompts = {role: speaker.new_prompt(self._told[role]) for role, speaker in self.sides.items()}

    def system_prompt(self, role: str) -> str | None:
        """The same in its profile's words."""
        return self.sides[role].profile.system_text(self._told[role])

    @property
    def next_role(self) -> str:
        return ASSISTANT if self.turns and self.turns[-1].role == USER else USER

    @property
    def held_tokens(self) -> int:
        """What the conversation held of a KV cache, as its run's next ones will reserve it."""
        sizes = [turn.num_prompt_tokens + turn.num_tokens for turn in self.turns if turn.num_prompt_tokens]
        mean = sum(sizes) / len(sizes) if sizes else max(len(prompt) for prompt in self._prompts.values())
        return held_tokens(mean)

    def add(self, turn: RecordedTurn) -> None:
        """Take in an utterance; each side's ids of it are made once.

        A speaker sees its own utterances as the ids that it generated, so that its prompt is what its cache holds.
        """
        generated = (-1, -1)
        for role, prompt in self._prompts.items():
            own_ids = turn.token_ids if role == turn.role else None
            if isinstance(prompt, ChatPrompt) and role == turn.role and turn.num_prompt_tokens:
                prompt.counted(turn.num_prompt_tokens)
            where = prompt.add(turn.role, turn.content, own_ids)
            if own_ids is not None:
                generated = (where.start, where.stop)
        self._generated.extend(generated)
        self.turns.append(turn if turn.token_ids is None else replace(turn, token_ids=None))

    def token_ids(self, position: int) -> list[int] | None:
        """The ids of a turn as they were generated; None for a given turn, and where they say more than is kept."""
        begin, end = self._generated[2 * position : 2 * position + 2]
        return None if begin < 0 else self._prompts[self.turns[position].role].content_ids(slice(begin, end))

    def turn_json(self, position: int) -> str:
        """A turn as the queue holds it."""
        return replace(self.turns[position], token_ids=self.token_ids(position)).to_json()

    def room(self, role: str) -> int:
        """Tokens that this side's next utterance may take; none or less: the context is full."""
        return self.sides[role].room(self._prompts[role])

    def api_of(self, role: str) -> str | None:
        """The chat API of a side's last utterance; None: there is none yet, or an engine made it."""
        return next((turn.api for turn in reversed(self.turns) if turn.role == role and turn.num_prompt_tokens), None)

    def prompt(self, role: str) -> Any:
        """What this side is asked with next, as its speaker takes it. It grows with the conversation."""
        return self._prompts[role]

    def given_turn(self) -> RecordedTurn | None:
        """The next utterance where the seed gives it: of what opens the conversation, or the next user turn of all."""
        position = len(self.turns)
        if self.spec.seed_mode is SeedMode.REANSWER:
            position, is_answer = divmod(position, 2)
            if is_answer:
                return None
        return self._given_turn(*self._given[position]) if position < len(self._given) else None

    @property
    def is_exhausted(self) -> bool:
        """Whether a seed that gives every user turn has no further one."""
        return self.spec.seed_mode is SeedMode.REANSWER and len(self.turns) >= 2 * len(self._given)

    def fault_of(self, role: str, utterance: Utterance) -> Fault | None:
        """What is wrong with an utterance that may come next."""
        said = Cleaned(utterance.content, self._end(utterance), utterance.marker, utterance.intact)
        min_turns = self.spec.endings.min_turns if self.spec.endings.user_ended else 0
        return self.sides[role].profile.fault_of(said, self.turns, self._told[role], min_turns=min_turns)

    def generated_turn(
        self, role: str, utterance: Utterance, sampling_seed: int, fault: Fault | None = None
    ) -> RecordedTurn:
        """An utterance as it is recorded; `fault` is what is wrong with it."""
        return RecordedTurn(
            role=role,
            content=utterance.content,
            finish_reason=utterance.finish_reason,
            num_tokens=utterance.num_tokens,
            num_prompt_tokens=utterance.num_prompt_tokens,
            sampling_seed=sampling_seed,
            duration_s=utterance.duration_s,
            token_ids=utterance.token_ids if utterance.intact else None,
            at=round(time.time(), 3),
            num_cached_tokens=utterance.num_cached_tokens,
            remarks=self._remarks(utterance, fault),
        )

    def record(self, reason: TerminationReason) -> str:
        """The finished conversation as JSON (a `platolm.dataset.ConversationRecord`), without what ended it."""
        kept = self.turns[: kept_turns(self.turns, reason)]
        goodbye = goodbye_at(self.turns)
        record = {
            "id": self.id,
            "run_id": self.run_id,
            "index": self.index,
            "conversations": [{"from": _SHAREGPT_NAMES[turn.role], "value": turn.content} for turn in kept],
            "num_rounds": sum(turn.role == ASSISTANT for turn in kept),
            "termination_reason": reason,
            "goodbye_at": goodbye,
            "goodbye_end": None if goodbye is None else self.turns[goodbye].end,
            "simulator": self._side_record(USER),
            "respondent": self._side_record(ASSISTANT),
            "seed": self.spec.seed,
            "seed_mode": self.spec.seed_mode,
            "seed_line": self.seed.line,
            "seed_ended": self.seed.ended,
            "turns": [self._turn_record(position) for position in range(len(kept))],
            "started_at": self.turns[0].at if self.turns else round(time.time(), 3),
            "finished_at": round(time.time(), 3),
        }
        return orjson.dumps(record).decode()

    def _remarks(self, utterance: Utterance, fault: Fault | None) -> Remarks | None:
        end, probability, api = self._end(utterance), utterance.goodbye_probability, utterance.api
        if end is None and fault is None and probability is None and api is None:
            return None
        return Remarks(end, fault, goodbye_probability=probability, api=api)

    def _end(self, utterance: Utterance) -> End | None:
        threshold, probability = self.spec.endings.goodbye_threshold, utterance.goodbye_probability
        is_likely = threshold is not None and probability is not None and probability >= threshold
        return utterance.end or (End.LIKELY if is_likely else None)

    def _turn_record(self, position: int) -> dict[str, Any]:
        turn = self.turns[position]
        remarks = turn.remarks or _NO_REMARKS
        return {
            "role": turn.role,
            "num_tokens": turn.num_tokens,
            "num_prompt_tokens": turn.num_prompt_tokens,
            "num_cached_tokens": turn.num_cached_tokens,
            "finish_reason": turn.finish_reason,
            "sampling_seed": turn.sampling_seed,
            "duration_s": turn.duration_s,
            "token_ids": self.token_ids(position),
            "end": remarks.end,
            "faults": remarks.faults,
            "goodbye_probability": remarks.goodbye_probability,
            "api": remarks.api,
        }

    def _side_record(self, role: str) -> dict[str, Any]:
        side = self.spec.side(role)
        return {
            "profile": side.profile,
            "model": self.sides[role].model_of(self.api_of(role)),
            "sampling": side.sampling.model_dump(),
            "system_prompt": self.system_prompt(role),
        }

    def _given_turn(self, role: str, content: str) -> RecordedTurn:
        num_tokens = self.sides[role].num_tokens(content)
        return RecordedTurn(role, content, FinishReason.SEED, num_tokens, at=round(time.time(), 3))


def restore(state: ConversationState, recorded: Sequence[str]) -> None:
    """Take in the utterances that the queue holds already."""
    for text in recorded:
        state.add(RecordedTurn.from_json(text))
