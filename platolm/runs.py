"""How far a run is: its state, its counts, its dead conversations, its live events."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from platolm.chat_apis.use import ApiUse, EstimatedCost
from platolm.conversation import TerminationReason
from platolm.spec import RunSpec

RunId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{2,63}$")]


class RunState(StrEnum):
    RUNNING = "running"
    PAUSED = "paused"
    """Nothing new is handed out; `pause` says why. What is in flight is given back after its utterance."""
    CANCELLING = "cancelling"
    """Nothing is worked on any more; finished conversations are still being written."""
    CANCELLED = "cancelled"
    COMPLETED = "completed"

    @property
    def is_over(self) -> bool:
        """Whether nothing will change by itself any more."""
        return self in (RunState.COMPLETED, RunState.CANCELLED)


class PausedBy(StrEnum):
    """Who paused a run; what paused it for a passing reason also resumes it."""

    USER = "user"
    LIMIT = "limit"
    """One of the spec's limits was reached."""
    WORKER = "worker"
    """The run asks for something that is not there: a model, an endpoint, a key."""
    ENGINES = "engines"
    """No engine answers; resumed as soon as one does."""
    WRITER = "writer"
    """The dataset cannot be written; resumed as soon as it can."""


class Pause(BaseModel):
    by: PausedBy
    reason: str


class RealismProgress(BaseModel):
    """How much a run's user sounds like a person, by measures over what is in its dataset."""

    model_config = ConfigDict(extra="ignore")

    conversations: int = Field(
        description="that are measured: all of the dataset but segments from before there were measures"
    )
    figures: dict[str, float] = Field(
        description="by name, as in `spec.limits.realism`; one without anything to divide by is left out"
    )
    out_of_bounds: dict[str, str] = Field(
        default_factory=dict, description="figures that left their bounds and have not come back: what was found then"
    )


class RunProgress(BaseModel):
    """A run as `GET /v1/runs/{id}` gives it. Counts are of conversations unless the name says otherwise."""

    id: str
    state: RunState
    pause: Pause | None = None
    spec: RunSpec
    created_at: float = Field(description="seconds since the epoch")
    fed: int = Field(description="handed to the queue so far")
    in_flight: int = Field(description="owned by a worker now")
    finished: int = Field(description="ended, committed to the dataset or about to be")
    committed: int = Field(description="in the dataset on disk")
    dead: int = 0
    cancelled: int = Field(0, description="given up by a cancellation")
    utterances: int = 0
    generated_tokens: int = 0
    terminations: dict[TerminationReason, int] = Field(default_factory=dict)
    realism: RealismProgress | None = Field(None, description="of the simulated user; null until a segment is written")
    apis: dict[str, ApiUse] = Field(
        default_factory=dict, description="what `simulator` and `respondent` have used of chat APIs, where they ask any"
    )
    budget: float | None = Field(
        None, description="what may be spent on chat APIs, in the currency of their prices; the last that was given"
    )
    cost_estimate: EstimatedCost | None = Field(
        None, description="of chat APIs, made before the start; null where a price is not known, or none is asked"
    )
    warnings: list[str] = Field(
        default_factory=list,
        description="what was adjusted or left out at submission, and every figure of `realism` that is out of bounds",
    )

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


CONVERSATION_ID_FORMAT = "%s-%08d"
"""Run id and index, in the notation that Python's `%` and Lua's `string.format` share."""


def conversation_id(run_id: str, index: int) -> str:
    """Id of the run's conversation `index` (from 0)."""
    return CONVERSATION_ID_FORMAT % (run_id, index)


def split_conversation_id(conversation_id: str) -> tuple[str, int] | None:
    """Run id and index of a conversation id; None where it is none."""
    run_id, _, index = conversation_id.rpartition("-")
    return (run_id, int(index)) if run_id and len(index) >= 8 and index.isascii() and index.isdigit() else None
