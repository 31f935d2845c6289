"""What the orchestrator's event streams carry; server and clients share it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from platolm.conversation import TerminationReason
from platolm.runs import Pause, RealismProgress, RunState, TurnEvent


class _Event(BaseModel):
    """A newer server may say more."""

    model_config = ConfigDict(extra="ignore")


class RunSummary(_Event):
    """A run in one line. Counts are of conversations unless the name says otherwise, as in `RunProgress`."""

    id: str
    name: str | None = None
    state: RunState
    pause: Pause | None = None
    conversations: int
    fed: int
    in_flight: int
    finished: int
    committed: int
    dead: int
    cancelled: int
    utterances: int
    generated_tokens: int
    terminations: dict[TerminationReason, int] = Field(default_factory=dict)
    realism: RealismProgress | None = None
    created_at: float = Field(description="seconds since the epoch")


class RunsEvent(_Event):
    """`runs`: every run that is not over, and those that ended in the last seconds; newest first."""

    runs: list[RunSummary]


class LiveTurn(TurnEvent):
    """`turn`: an utterance is complete."""

    run_id: str


class EndedEvent(_Event):
    """`ended`: a conversation has finished."""

    run_id: str
    conversation_id: str
    index: int
    termination_reason: TerminationReason


class PartialEvent(_Event):
    """`partial`: an utterance that is being generated; `text` is the whole of it so far."""

    turn_index: int
    role: str
    text: str


class DroppedEvent(_Event):
    """`dropped`: a listener that was too slow lost so many of the oldest turns that waited for it."""

    turns: int
