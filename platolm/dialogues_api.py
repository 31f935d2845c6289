"""Talks over HTTP: what `POST /v1/dialogues` takes and streams, and how a talk is saved; server and clients share it.

The server keeps nothing of a talk. Whoever asks sends what was said so far, so that going on, making an utterance again
(another seed), changing a turn and branching off are one request with other messages.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, StringConstraints, model_validator

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason
from platolm.marks import Mark, MarkValue
from platolm.sampling import Sampling
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault
from platolm.spec import Endings, ProfileName, Text, speaker_profile

TALKS_RUN_ID = "talks"
"""Saved talks are a dataset like a run's, under this id."""

MAX_MESSAGES = 2000
MAX_CONTEXT_TOKENS = 100_000_000
MAX_UTTERANCES = 100
"""Of one request."""
DEFAULT_TALKS_PAGE = 50
MAX_TALKS_PAGE = 200

Role = Literal["user", "assistant"]
Seed = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
SessionId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,128}$")]
Title = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]
TokenCount = Annotated[int, Field(ge=0, le=10**9, strict=True)]


class DialogueMessage(BaseModel):
    """What was said already; other fields, such as those of a `turn` event, are not looked at."""

    model_config = ConfigDict(extra="ignore")

    role: Role
    content: Text


class DialogueSide(Sampling):
    """How one side speaks."""

    model_config = ConfigDict(strict=True)

    system_prompt: Text | None = Field(None, description="appended to the profile's header")

    @property
    def sampling(self) -> Sampling:
        return Sampling(**self.model_dump(exclude={"system_prompt"}))


class TalkEndings(Endings):
    """A run's rules, but for the context: a talk may fill the model's."""

    model_config = ConfigDict(strict=True)

    context_tokens: int = Field(
        MAX_CONTEXT_TOKENS,
        ge=16,
        le=MAX_CONTEXT_TOKENS,
        description="most tokens of a prompt with its utterance; default: the model's own limit, which holds anyway",
    )


class DialogueRequest(BaseModel):
    """`POST /v1/dialogues`: have the models speak from here on, in turns."""

    model_config = ConfigDict(extra="forbid")

    messages: list[DialogueMessage] = Field(default_factory=list, max_length=MAX_MESSAGES)
    speaker: Role | None = Field(None, description="who speaks first; default: whose turn it is, the user's at first")
    num_turns: int = Field(
        1, ge=1, le=MAX_UTTERANCES, strict=True, description="utterances to make, the two sides in turns"
    )
    simulator: DialogueSide = DialogueSide()
    respondent: DialogueSide = DialogueSide()
    endings: TalkEndings = TalkEndings()
    seed: Seed | None = Field(None, description="the same seed and messages give the same utterances; default: any")
    session_id: SessionId | None = Field(None, description="requests with the same one go to the same replicas")

    @model_validator(mode="after")
    def _has_a_turn(self) -> Self:
        last = self.messages[-1].role if self.messages else None
        if self.speaker == USER and last == USER:
            raise ValueError("the user spoke last, so that the assistant is next: leave speaker out, or say assistant")
        if self.speaker == ASSISTANT and last != USER:
            raise ValueError("the assistant answers the user: end the messages with a user's, or leave speaker out")
        return self

    @property
    def first_speaker(self) -> str:
        """Whose utterance is made first."""
        return ASSISTANT if self.messages and self.messages[-1].role == USER else USER

    def side(self, role: str) -> DialogueSide:
        """How a role's model speaks."""
        return self.simulator if role == USER else self.respondent


class _Event(BaseModel):
    model_config = ConfigDict(extra="ignore")

    event: ClassVar[str]


class UtteranceBegun(_Event):
    """A model is asked for the utterance at `turn_index` of the messages (from 0)."""

    event = "utterance"

    turn_index: int
    role: Role


class UtteranceToken(_Event):
    """What came of it now: `text` follows what came before."""

    event = "token"

    turn_index: int
    text: str


class UtteranceAgain(_Event):
    """What came of it does not count: it would end the talk too early (`min_turns`, `empty`) and is made again."""

    event = "again"

    turn_index: int


class DialogueTurn(_Event):
    """A whole utterance. `num_tokens` are those of its text, without the eos."""

    event = "turn"

    turn_index: int
    role: Role
    content: str
    num_tokens: int
    num_prompt_tokens: int
    num_cached_tokens: int | None = None
    finish_reason: FinishReason
    sampling_seed: int
    duration_s: float
    model: str
    profile: str | None = Field(None, description="how the model was prompted, as its server says")
    end: End | None = Field(None, description="marker or blank where it is the simulator's goodbye")

    @property
    def fault(self) -> Fault | None:
        """None: a person sees what is said, and may have it made again."""
        return None


class DialogueEnded(_Event):
    """A rule ended the talk; an utterance that had begun without its `turn` does not count. Nothing follows."""

    event = "ended"

    termination_reason: TerminationReason


class DialogueDone(_Event):
    """All utterances that were asked for are made; the talk may go on. Nothing follows."""

    event = "done"

    num_turns: int


class DialogueFailed(_Event):
    """A model server failed; the turns so far stand, an utterance that had begun does not. Nothing follows."""

    event = "error"

    detail: str
    retryable: bool = False


DialogueEvent = (
    UtteranceBegun | UtteranceToken | UtteranceAgain | DialogueTurn | DialogueEnded | DialogueDone | DialogueFailed
)
DIALOGUE_EVENTS: Mapping[str, type[DialogueEvent]] = {
    kind.event: kind
    for kind in (
        UtteranceBegun,
        UtteranceToken,
        UtteranceAgain,
        DialogueTurn,
        DialogueEnded,
        DialogueDone,
        DialogueFailed,
    )
}
"""By the name that the stream gives them; it closes with one of `LAST_EVENTS`."""
LAST_EVENTS = (DialogueEnded, DialogueDone, DialogueFailed)


class SpeakerState(BaseModel):
    """One side's model server; `detail` says why it is not ready."""

    model: str | None = None
    max_model_len: int | None = Field(None, description="context length in tokens")
    ready: bool
    detail: str | None = None


class Speakers(BaseModel):
    """`GET /v1/dialogues/speakers`: who can speak now."""

    simulator: SpeakerState
    respondent: SpeakerState


class TalkTurn(BaseModel):
    """A turn to save: as a `turn` event gave it, or a person's, of which there is the text only."""

    model_config = ConfigDict(extra="ignore")

    role: Role
    content: Text
    num_tokens: TokenCount = 0
    num_prompt_tokens: TokenCount = 0
    num_cached_tokens: TokenCount | None = None
    finish_reason: Literal["stop", "length", "context", "seed", "stopped"] = Field(
        "seed", description="as the event said; seed: written by a person; stopped: cut by a person"
    )
    sampling_seed: Seed | None = None
    duration_s: float = Field(0.0, ge=0, le=1e9, strict=True)
    model: Annotated[str, StringConstraints(max_length=500)] | None = None
    profile: ProfileName | None = Field(None, description="as the event said")
    end: End | None = Field(None, description="as the event said")

    @model_validator(mode="after")
    def _speaks_for_its_side(self) -> Self:
        if self.profile is not None and speaker_profile(self.profile).role != self.role:
            raise ValueError(f"{self.profile} does not speak as the {self.role}")
        return self


class TalkRequest(BaseModel):
    """`POST /v1/talks`: put a talk into the dataset of saved talks."""

    model_config = ConfigDict(extra="forbid")

    turns: list[TalkTurn] = Field(
        min_length=1, max_length=MAX_MESSAGES + MAX_UTTERANCES, validation_alias=AliasChoices("turns", "messages")
    )
    simulator: DialogueSide = DialogueSide()
    respondent: DialogueSide = DialogueSide()
    termination_reason: TerminationReason | None = Field(
        None, description="what `ended` said; then what ended the talk is left out, as in a run's dataset"
    )
    title: Title | None = None
    mark: MarkValue | None = None
    seed: Seed = Field(0, description="the requests' seed, where one was given")
    started_at: float | None = Field(
        None, ge=0, le=1e11, strict=True, description="seconds since the epoch; default: now"
    )


class SavedTalk(BaseModel):
    """Answer of `POST /v1/talks`; `GET /v1/conversations/{id}` gives the talk."""

    id: str


class TalkSummary(BaseModel):
    """One saved talk in a list."""

    id: str
    title: str | None = None
    opening: str = Field(description="the beginning of its first utterance")
    num_turns: int
    num_rounds: int
    num_tokens: int = Field(description="of both sides' generated utterances")
    termination_reason: str
    simulator: str = Field(description="the model that spoke as the user, or `person`")
    respondent: str = Field(description="the model that answered, or `person`")
    saved_at: float = Field(description="seconds since the epoch")
    mark: Mark | None = None


class TalkPage(BaseModel):
    """`GET /v1/talks`, newest first; `next_cursor` asks for what follows, None: that was all."""

    talks: list[TalkSummary]
    next_cursor: str | None = None
