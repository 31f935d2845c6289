"""What a run is asked for: its spec, typed, every default written here, and the seeds it starts from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Annotated, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from platolm.conversation import USER
from platolm.errors import SpecError
from platolm.realism_limits import RealismLimits
from platolm.respondents import RESPONDENTS
from platolm.sampling import Sampling
from platolm.seed_modes import TELLING, WHOLE, lacks, taken, told_of_seed
from platolm.seed_modes import Seed as Seed
from platolm.seed_modes import SeedMode as SeedMode
from platolm.seed_modes import given_utterances as given_utterances
from platolm.simulators import PROFILES as SIMULATORS
from platolm.simulators.told import Told, check_instruction
from platolm.speaker_profile import SpeakerProfile

DEFAULT_CONTEXT_TOKENS = 2048

_SEEDS_NAMED = 20

Text = Annotated[str, StringConstraints(max_length=1_000_000)]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s/,]+(/[^\s,]*)?$", max_length=2000)]
ApiName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
"""What the operator calls a chat API."""
Weight = Annotated[float, Field(gt=0, le=1e9, allow_inf_nan=False)]
Phrase = Annotated[str, StringConstraints(min_length=1, max_length=200, pattern=r"\S")]


def speaker_profile(name: str) -> SpeakerProfile:
    """A side's profile, by the name that a spec gives.

    Raises:
        ValueError: there is none of this name.
    """
    profile = SIMULATORS.get(name) or RESPONDENTS.get(name)
    if profile is None:
        raise ValueError(f"{name!r} is no profile; there are {_listed([*SIMULATORS, *RESPONDENTS])}")
    return profile


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)


ProfileName = Annotated[
    str,
    AfterValidator(lambda name: speaker_profile(name).name),
    WithJsonSchema({"type": "string", "enum": [*SIMULATORS, *RESPONDENTS]}),
]


class OutputFormat(StrEnum):
    """How a dataset's segments are written."""

    JSONL = "jsonl"
    """JSON lines in zstd."""
    PARQUET = "parquet"


class _Spec(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class SideSpec(_Spec):
    """One of the two speakers: how it is prompted, where and which model to ask, how to sample."""

    profile: ProfileName = Field(description=f"simulator: {_listed(SIMULATORS)}; respondent: {_listed(RESPONDENTS)}")
    endpoints: list[Url] | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="engines' /v1 URLs, from the operator's allow-list; default: those that the workers were given",
    )
    model: str | None = Field(
        None, min_length=1, max_length=500, description="model id to ask for; default: the one that is served"
    )
    apis: dict[ApiName, Weight] = Field(
        default_factory=dict,
        max_length=100,
        description="chat APIs to ask instead of engines, by the operator's names for them, each with its weight: "
        "`{openai: 3, laptop: 1}`",
    )
    system_prompt: Text | None = Field(None, description="what every conversation of the run is told")
    instruction: Text | None = Field(
        None,
        description="a simulator's own words instead of its profile's, with {intent}, {goal}, {persona}, {profile}, "
        "{system_prompt} and {end_marker} filled in",
    )
    sampling: Sampling = Field(Sampling(), validate_default=True)

    @field_validator("sampling")
    @classmethod
    def _with_the_profiles(cls, sampling: Sampling, info: ValidationInfo) -> Sampling:
        """What is not said is the profile's, written out so that it can be read."""
        profile = speaker_profile(info.data["profile"]) if "profile" in info.data else None
        return sampling if profile is None else profile.sampling(sampling)

    @model_validator(mode="after")
    def _asks_engines_or_apis(self) -> Self:
        if self.apis and (self.endpoints is not None or self.model is not None):
            raise ValueError("give apis, or endpoints and model: an API's address and model are the operator's")
        return self

    @model_validator(mode="after")
    def _instructed_well(self) -> Self:
        if self.instruction is None:
            return self
        if self.profile not in SIMULATORS:
            raise ValueError(f"an instruction is for simulators; tell {self.profile} a system_prompt")
        try:
            check_instruction(self.instruction, ["end_marker"])
        except SpecError as error:
            raise ValueError("; ".join(str(problem) for problem in error.problems)) from None
        return self


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
    user_ended: bool = Field(True, description="end when the simulator says goodbye in its profile's own way")
    goodbye_threshold: float | None = Field(
        None,
        gt=0,
        le=1,
        description="a simulator's utterance is a goodbye too where it was so likely to hold one; the probability is "
        "recorded, where the simulator's goodbye is one token and its engine tells of it",
    )
    extra_turns: int = Field(
        0,
        ge=0,
        le=100_000,
        description="utterances of both sides to make after the simulator's goodbye, to see what it would have missed",
    )
    goodbye_loops: bool = Field(True, description="end when both sides do nothing but say goodbye to each other")
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
    """Where a run stops by itself, with the reason; one that pauses can be resumed."""

    in_flight: int | None = Field(None, ge=1, le=10_000_000, description="conversations of this run at a time")
    generated_tokens: int | None = Field(None, ge=1, le=10**15, description="pause after so many tokens of both sides")
    budget: float | None = Field(
        None,
        gt=0,
        le=1e6,
        allow_inf_nan=False,
        description="pause before more than this is spent on chat APIs, in the currency of the operator's prices",
    )
    dead: int | None = Field(100, ge=1, le=10**9, description="pause after so many dead conversations (since a resume)")
    realism: RealismLimits = RealismLimits()


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
        description="what a seed gives: nothing, a question, that and its answer, what its user wants, a conversation "
        "to go on with, or one whose user turns are answered again",
    )
    from_turn: int | None = Field(
        None,
        ge=-100_000,
        le=100_000,
        description="continue mode: so many turns of a seed stand, all where it has fewer; negative: all but so many; "
        "default: all",
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

    @model_validator(mode="after")
    def _each_side_is_of_its_kind(self) -> Self:
        for side, name, there_are in (
            ("simulator", self.simulator.profile, SIMULATORS),
            ("respondent", self.respondent.profile, RESPONDENTS),
        ):
            if name not in there_are:
                raise ValueError(f"{name} is no {side}'s profile; there are {_listed(there_are)}")
        return self

    @model_validator(mode="after")
    def _a_budget_is_for_apis(self) -> Self:
        if self.limits.budget is not None and not (self.simulator.apis or self.respondent.apis):
            raise ValueError("limits.budget is for chat APIs, and no side has apis: engines cost nothing here")
        return self

    @model_validator(mode="after")
    def _from_turn_is_for_continue(self) -> Self:
        if self.from_turn is not None and self.seed_mode is not SeedMode.CONTINUE:
            raise ValueError(f"from_turn is for seed_mode continue, not {self.seed_mode}")
        if self.from_turn == 0:
            raise ValueError("from_turn 0 leaves nothing of a seed; give 1 or more, or a negative number")
        return self

    def side(self, role: str) -> SideSpec:
        """The speaker of a role."""
        return self.simulator if role == USER else self.respondent

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
                raise ValueError(f"seed_mode free takes no seeds; use {_listed(list(SeedMode)[1:])}")
            return self
        if not self.seeds:
            raise ValueError(f"seed_mode {mode} needs at least one seed")
        lacking = [(position, what) for position, seed in enumerate(self.taken_seeds()) if (what := lacks(seed, mode))]
        if lacking:
            named = ", ".join(f"seeds[{position}] has no {what}" for position, what in lacking[:_SEEDS_NAMED])
            more = f" and {len(lacking) - _SEEDS_NAMED} more" if len(lacking) > _SEEDS_NAMED else ""
            raise ValueError(f"{named}{more}: seed_mode {mode} needs one")
        return self

    @model_validator(mode="after")
    def _the_simulator_knows_its_user(self) -> RunRequest:
        side, mode = self.spec.simulator, self.spec.seed_mode
        profile = speaker_profile(side.profile)
        if mode is SeedMode.REANSWER or profile.lacks(told_of(side, Seed(), mode)) is None:
            return self  # it says nothing, or lacks nothing whatever the seeds say
        for position, seed in enumerate(self.seeds if mode in TELLING else [Seed()]):
            if what := profile.lacks(told_of(side, seed, mode)):
                where = f"seeds[{position}] gives none" if mode in TELLING else f"seed_mode {mode} gives none"
                raise ValueError(f"{side.profile} has to be told {what}: {where}, and there is no system_prompt")
        return self

    def taken_seeds(self) -> list[Seed]:
        """The seeds with those of their turns that the run takes."""
        mode, from_turn = self.spec.seed_mode, self.spec.from_turn
        return [taken(seed, mode, from_turn) for seed in self.seeds] if mode in WHOLE else self.seeds


def told_of(side: SideSpec, seed: Seed, mode: SeedMode) -> Told:
    """What a side is told: the run's system prompt and instruction, and where the mode tells it what its seed says."""
    if mode not in TELLING or side.profile not in SIMULATORS:
        return Told(system_prompt=side.system_prompt, instruction=side.instruction)
    return replace(told_of_seed(seed), system_prompt=side.system_prompt, instruction=side.instruction)


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
