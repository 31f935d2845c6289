"""What a run is asked for: its spec, typed, every default written here, and the seeds it starts from."""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from platolm.conversation import ASSISTANT, USER

DEFAULT_CONTEXT_TOKENS = 2048
DEFAULT_TEMPERATURE = 0.7
DEFAULT_MAX_TOKENS = 512

_SEEDS_NAMED = 20

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/,]+(/[^\s,]*)?$", max_length=2000)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]


class SeedMode(StrEnum):
    """What a seed gives a conversation."""

    FREE = "free"
    """Nothing: the simulator opens by itself."""
    QUESTION = "question"
    """The first user turn."""
    EXCHANGE = "exchange"
    """The first user turn and its answer."""
    INTENT = "intent"
    """What the simulator is told of its user: an intent, a persona, or both. It opens by itself."""


class OutputFormat(StrEnum):
    """How a dataset's segments are written."""

    JSONL = "jsonl"
    """JSON lines in zstd."""
    PARQUET = "parquet"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Seed(_Spec):
    """What starts one conversation; `line` is where it stood in the user's file (from 1)."""

    question: str | None = None
    answer: str | None = None
    intent: str | None = Field(None, description="what the user wants, e.g. `You want to plan a birthday party`")
    persona: str | None = Field(None, description="who the user is")
    line: int | None = None


class Sampling(_Spec):
    """Sampling of one side; the defaults are the paper's (temperature 0.7, no top-p, 512 new tokens)."""

    temperature: float = Field(DEFAULT_TEMPERATURE, ge=0, le=2, description="0: always the likeliest token")
    top_p: float = Field(1.0, gt=0, le=1, description="only the likeliest tokens that have this share together")
    top_k: int = Field(0, ge=0, le=1_000_000, description="0: all tokens")
    min_p: float = Field(0.0, ge=0, le=1, description="least share of the likeliest token's probability")
    repetition_penalty: float = Field(1.0, gt=0, le=10, description="above 1: what was said becomes less likely")
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=1, le=1_000_000, description="new tokens an utterance may take")


class SideSpec(_Spec):
    """One of the two speakers: the dyadic profile it is prompted with, where and which model to ask, how to sample."""

    profile: Literal["socratic", "platolm"]
    endpoints: list[Url] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="engines' /v1 URLs, from the operator's allow-list; default: those that the workers were given",
    )
    model: str | None = Field(
        None, min_length=1, max_length=500, description="model id to ask for; default: the one that is served"
    )
    system_prompt: Text | None = Field(None, description="appended to the profile's header")
    sampling: Sampling = Sampling()


class Endings(_Spec):
    """The rules that end a conversation."""

    context_tokens: int = Field(
        DEFAULT_CONTEXT_TOKENS,
        ge=16,
        le=100_000_000,
        description="most tokens of a prompt with its utterance; the models' limit holds too",
    )
    min_turns: int = Field(
        0,
        ge=0,
        le=100_000,
        description="an utterance that would end the conversation before so many is generated again a few times",
    )
    max_turns: int | None = Field(
        None, ge=2, le=100_000, description="utterances of both sides together; two make a round"
    )
    user_ended: bool = Field(True, description="end when the simulator writes its profile's end marker")
    repetition: bool = Field(True, description="end when a speaker repeats an earlier utterance or loops within one")
    empty: bool = Field(
        True, description="end at a blank utterance; off: generate it again, end only if it stays blank"
    )
    stop_phrases: list[Phrase] = Field(
        default_factory=list, max_length=1000, description="end when the user says one of these; case does not count"
    )

    @model_validator(mode="after")
    def _min_below_max(self) -> Self:
        if self.max_turns is not None and self.min_turns > self.max_turns:
            raise ValueError(f"min_turns {self.min_turns} is above max_turns {self.max_turns}")
        return self


class Retries(_Spec):
    """What failures a run bears."""

    attempts: int = Field(
        3,
        ge=1,
        le=1000,
        description="a conversation is dead after so many failures in a row without a new utterance",
    )
    lost_engines: int = Field(
        8,
        ge=1,
        le=1000,
        description="a conversation is dead after so many engines in a row were lost while they were to answer it",
    )
    utterance_for_s: float = Field(
        600.0, ge=0, le=1e6, description="how long one utterance is asked for while its engine fails in passing"
    )
    regenerations: int = Field(
        3, ge=0, le=100, description="how often an utterance that would end the conversation too early is made again"
    )


class Limits(_Spec):
    """Where a run stops by itself: it pauses, with the reason, and can be resumed."""

    in_flight: int | None = Field(None, ge=1, le=10_000_000, description="conversations of this run at a time")
    generated_tokens: int | None = Field(None, ge=1, le=10**15, description="pause after so many tokens of both sides")
    dead: int | None = Field(100, ge=1, le=10**9, description="pause after so many dead conversations (since a resume)")


class Output(_Spec):
    """Where the dataset goes."""

    url: Annotated[str, StringConstraints(pattern=r"^[a-z0-9+.-]+://\S+$", max_length=2000)] | None = Field(
        None, description="any fsspec URL from the operator's allow-list; default: the API's data folder"
    )
    format: OutputFormat = OutputFormat.JSONL
    segment_records: int = Field(512, ge=1, le=100_000, description="conversations in a segment, at most")


class RunSpec(_Spec):
    """Everything that, with the seeds, determines a run's prompts and sampling seeds."""

    conversations: int = Field(ge=1, le=100_000_000, description="how many to make")
    name: Annotated[str, StringConstraints(max_length=200)] | None = Field(None, description="for people; any text")
    seed_mode: SeedMode = Field(
        SeedMode.FREE,
        description="what a seed gives: nothing, a question, that and its answer, or what its user wants",
    )
    repeats: int = Field(
        1, ge=1, le=1_000_000, description="conversations in a row that start from one seed, before the next one's turn"
    )
    seed: int = Field(0, ge=0, lt=2**63, description="from which every utterance's sampling seed is derived")
    simulator: SideSpec = SideSpec(profile="socratic")
    respondent: SideSpec = SideSpec(profile="platolm")
    endings: Endings = Endings()
    retries: Retries = Retries()
    limits: Limits = Limits()
    output: Output = Output()

    def digest(self) -> str:
        """Hex SHA-256 of the spec, equal for equal specs."""
        canonical = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()


class RunRequest(BaseModel):
    """Body of `POST /v1/runs`. Conversation i starts from seed `i // repeats`, modulo their number."""

    model_config = ConfigDict(extra="forbid")

    spec: RunSpec
    seeds: list[Seed] = Field(default_factory=list)

    @model_validator(mode="after")
    def _seeds_fit_the_mode(self) -> RunRequest:
        mode = self.spec.seed_mode
        if mode is SeedMode.FREE:
            if self.seeds:
                raise ValueError("seed_mode free takes no seeds; use question, exchange or intent")
            return self
        if not self.seeds:
            raise ValueError(f"seed_mode {mode} needs at least one seed")
        lacking = [(position, what) for position, seed in enumerate(self.seeds) if (what := lacks(seed, mode))]
        if lacking:
            named = ", ".join(f"seeds[{position}] has no {what}" for position, what in lacking[:_SEEDS_NAMED])
            more = f" and {len(lacking) - _SEEDS_NAMED} more" if len(lacking) > _SEEDS_NAMED else ""
            raise ValueError(f"{named}{more}: seed_mode {mode} needs one")
        return self


def lacks(seed: Seed, mode: SeedMode) -> str | None:
    """What a mode needs and a seed does not give, in words; None where nothing is missing."""
    if mode is SeedMode.INTENT:
        return None if _is_said(seed.intent) or _is_said(seed.persona) else "intent or persona"
    if mode is not SeedMode.FREE and not _is_said(seed.question):
        return "question"
    if mode is SeedMode.EXCHANGE and not _is_said(seed.answer):
        return "answer"
    return None


def given_utterances(seed: Seed, mode: SeedMode) -> list[tuple[str, str]]:
    """Role and text of what a seed gives in a mode: nothing, the question, or the question and its answer."""
    if mode not in (SeedMode.QUESTION, SeedMode.EXCHANGE):
        return []
    given = [(USER, seed.question or "")]
    if mode is SeedMode.EXCHANGE:
        given.append((ASSISTANT, seed.answer or ""))
    return given


def simulator_system_prompt(side: SideSpec, seed: Seed, mode: SeedMode) -> str | None:
    """What the simulator is told besides its header: the run's system prompt, and the seed's persona and intent."""
    told = [side.system_prompt, *([seed.persona, seed.intent] if mode is SeedMode.INTENT else [])]
    return " ".join(text.strip() for text in told if _is_said(text) and text is not None) or None


def seed_position(index: int, spec: RunSpec, num_seeds: int) -> int:
    """Which seed conversation `index` starts from."""
    return (index // spec.repeats) % num_seeds


def sampling_seed(run_seed: int, index: int, turn_index: int, regeneration: int = 0) -> int:
    """Seed of one utterance: 31 bits from (run seed, conversation index, turn index), the same on every worker.

    `regeneration` counts how often the utterance was made before and not taken.
    """
    again = f"/{regeneration}" if regeneration else ""
    digest = hashlib.blake2b(f"{run_seed}/{index}/{turn_index}{again}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") & 0x7FFFFFFF


def _is_said(text: str | None) -> bool:
    return bool(text and text.strip())
