"""What a run is: its spec (what was asked for) and its progress (how far it is)."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from platolm.conversation import ASSISTANT, USER, TerminationReason

DEFAULT_CONTEXT_TOKENS = 2048
DEFAULT_TEMPERATURE = 0.7
DEFAULT_MAX_TOKENS = 512

RunId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,63}$")]


class SeedMode(StrEnum):
    """What a seed gives a conversation."""

    FREE = "free"
    """Nothing: the simulator opens by itself."""
    QUESTION = "question"
    """The first user turn."""
    EXCHANGE = "exchange"
    """The first user turn and its answer."""


class RunState(StrEnum):
    RUNNING = "running"
    COMPLETED = "completed"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seed(_Spec):
    """What starts one conversation; `line` is where it stood in the user's file (from 1)."""

    question: str | None = None
    answer: str | None = None
    line: int | None = None


class Sampling(_Spec):
    """Sampling of one side; the defaults are the paper's (temperature 0.7, no top-p, 512 new tokens)."""

    temperature: float = Field(DEFAULT_TEMPERATURE, ge=0, le=2)
    top_p: float = Field(1.0, gt=0, le=1)
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=1, description="new tokens an utterance may take")


class SideSpec(_Spec):
    """One of the two speakers: the dyadic profile it is prompted with, the model to ask for, how to sample."""

    profile: Literal["socratic", "platolm"]
    model: str | None = Field(None, description="model id to ask for; default: the one that the endpoint serves")
    system_prompt: str | None = Field(None, description="appended to the profile's header")
    sampling: Sampling = Sampling()


class Endings(_Spec):
    """The rules that end a conversation."""

    context_tokens: int = Field(
        DEFAULT_CONTEXT_TOKENS,
        ge=16,
        description="most tokens of a prompt with its utterance; the models' limit holds too",
    )
    max_turns: int | None = Field(None, ge=2, description="utterances of both sides together; two make a round")
    repetition: bool = Field(True, description="end when a speaker repeats an earlier utterance or loops within one")


class RunSpec(_Spec):
    """Everything that, with the seeds, determines a run's prompts and sampling seeds."""

    conversations: int = Field(ge=1, le=100_000_000)
    seed_mode: SeedMode = SeedMode.FREE
    seed: int = Field(0, ge=0, lt=2**63, description="from which every utterance's sampling seed is derived")
    simulator: SideSpec = SideSpec(profile="socratic")
    respondent: SideSpec = SideSpec(profile="platolm")
    endings: Endings = Endings()
    max_attempts: int = Field(
        3, ge=1, description="a conversation is dead after so many failures in a row without a new utterance"
    )

    def digest(self) -> str:
        """Hex SHA-256 of the spec, equal for equal specs."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class RunRequest(BaseModel):
    """Body of `POST /v1/runs`. Conversation i starts from seed i modulo their number."""

    model_config = ConfigDict(extra="forbid")

    spec: RunSpec
    seeds: list[Seed] = Field(default_factory=list)

    @model_validator(mode="after")
    def _seeds_fit_the_mode(self) -> RunRequest:
        mode = self.spec.seed_mode
        if mode is SeedMode.FREE:
            if self.seeds:
                raise ValueError("seed_mode free takes no seeds; use question or exchange")
            return self
        if not self.seeds:
            raise ValueError(f"seed_mode {mode} needs at least one seed")
        for position, seed in enumerate(self.seeds):
            if not (seed.question and seed.question.strip()):
                raise ValueError(f"seeds[{position}] has no question")
            if mode is SeedMode.EXCHANGE and not (seed.answer and seed.answer.strip()):
                raise ValueError(f"seeds[{position}] has no answer, which seed_mode exchange needs")
        return self


class RunProgress(BaseModel):
    """A run as `GET /v1/runs/{id}` gives it. Counts are of conversations unless the name says otherwise."""

    id: str
    state: RunState
    spec: RunSpec
    created_at: float = Field(description="seconds since the epoch")
    fed: int = Field(description="handed to the queue so far")
    in_flight: int = Field(description="owned by a worker now")
    finished: int = Field(description="ended, committed to the dataset or about to be")
    committed: int = Field(description="in the dataset on disk")
    dead: int = 0
    utterances: int = 0
    generated_tokens: int = 0
    terminations: dict[TerminationReason, int] = Field(default_factory=dict)
    warnings: list[str] = Field(default_factory=list, description="what was adjusted or left out at submission")

    @property
    def conversations(self) -> int:
        return self.spec.conversations


class DeadConversation(BaseModel):
    """A conversation that failed for good."""

    model_config = ConfigDict(extra="ignore")

    id: str
    index: int
    attempts: int
    error: str


class TurnEvent(BaseModel):
    """One utterance, as the live events of a run carry it."""

    conversation_id: str
    index: int
    turn_index: int
    role: str
    content: str


def given_utterances(seed: Seed, mode: SeedMode) -> list[tuple[str, str]]:
    """Role and text of what a seed gives in a mode: nothing, the question, or the question and its answer."""
    if mode is SeedMode.FREE:
        return []
    given = [(USER, seed.question or "")]
    if mode is SeedMode.EXCHANGE:
        given.append((ASSISTANT, seed.answer or ""))
    return given


CONVERSATION_ID_FORMAT = "%s-%08d"
"""Run id and index, in the notation that Python's `%` and Lua's `string.format` share."""


def conversation_id(run_id: str, index: int) -> str:
    """Id of the run's conversation `index` (from 0)."""
    return CONVERSATION_ID_FORMAT % (run_id, index)


def sampling_seed(run_seed: int, index: int, turn_index: int) -> int:
    """Seed of one utterance: 31 bits from (run seed, conversation index, turn index), the same on every worker."""
    digest = hashlib.blake2b(f"{run_seed}/{index}/{turn_index}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF
