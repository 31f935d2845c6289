"""What the queue answers: claims, outcomes, what waits in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from platolm.runs import RunState


class Outcome(StrEnum):
    """What a script says of an append, a finish or a failure."""

    OK = "ok"
    STALE = "stale"
    """The claim is somebody else's now: stop, write nothing."""
    SHORT = "short"
    """Redis holds fewer utterances than expected: it came back a moment older."""
    GONE = "gone"
    """The conversation has ended already."""
    REQUEUED = "requeued"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Claim:
    """A conversation that this worker owns until the token changes.

    `turns` are the recorded utterances, as JSON; `placed` maps a role to the URL of the replica it was placed on;
    `lost_engines` counts those that went away, in a row, while they were to answer it.
    """

    conversation_id: str
    run_id: str
    index: int
    seed: str
    token: str
    turns: list[str]
    placed: Mapping[str, str] = field(default_factory=dict)
    lost_engines: int = 0


@dataclass(frozen=True)
class Claimed:
    """What a worker was handed, and the runs that it could not serve because it offered no replica of theirs."""

    claims: list[Claim]
    unknown_runs: list[str]


@dataclass(frozen=True, slots=True)
class Written:
    """A script's answer; `length` is the number of utterances that Redis holds, `run_state` the run's state then."""

    outcome: Outcome
    length: int
    run_state: RunState | None = None


@dataclass(frozen=True)
class Offer:
    """A replica that a worker can use; `budget_tokens` is its KV cache in tokens, 0: not known, not bounded."""

    url: str
    budget_tokens: int


@dataclass(frozen=True)
class QueuedConversation:
    """A conversation that waits or is worked on."""

    id: str
    index: int
    state: Literal["queued", "in_flight"]
    num_turns: int
    attempts: int
    worker: str | None


@dataclass(frozen=True)
class QueuedDetail:
    """The same with all that was said: `seed` is JSON, `turns` are JSON objects as workers record them."""

    run_id: str
    index: int
    state: Literal["queued", "in_flight"]
    attempts: int
    seed: str
    turns: list[str]


class LeaseLostError(Exception):
    """This worker's claims were given to others; it must start over under a new name."""
