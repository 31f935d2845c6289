"""How runs and engines did over time, as the API samples it; server and clients share these."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict, Field

SAMPLE_EVERY_S = 2
"""Between two samples."""
MAX_SAMPLES = 1800
"""Samples that the API keeps: an hour."""
MAX_RUNS_SAMPLED = 64
"""Runs in one sample; where more are open, those with the most conversations in flight."""


@dataclass(frozen=True, slots=True)
class RunSample:
    """One run at one moment. Counts are of conversations unless the name says otherwise, totals since its start.

    `in_flight` are owned by a worker, `queued` wait for one.
    """

    in_flight: int
    queued: int
    finished: int
    committed: int
    dead: int
    utterances: int
    generated_tokens: int


@dataclass(frozen=True, slots=True)
class SideSample:
    """All engines of one side at one moment; None: not known.

    `running` and `waiting` count requests inside the engines, `kv_used` is the share of their KV caches in use, from 0
    to 1. Rates are of what workers got from them between their last two reports; `prefix_hit_ratio` is the share of a
    conversation's own past that an engine still had in its cache, from 0 to 1.
    """

    running: int | None = None
    waiting: int | None = None
    kv_used: float | None = None
    tokens_per_s: float | None = None
    utterances_per_s: float | None = None
    prefix_hit_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides at one moment."""

    simulator: SideSample = field(default_factory=SideSample)
    respondent: SideSample = field(default_factory=SideSample)


class Sample(BaseModel):
    """Everything at one moment. A run is in it from the first sample after its start to the first after its end."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    time: float = Field(description="seconds since the epoch, of Redis's clock")
    workers: int = Field(description="workers alive")
    queue_depth: int = Field(description="conversations in the queue that nobody owns, of all runs")
    runs: Mapping[str, RunSample] = Field(
        description=f"by run id, at most {MAX_RUNS_SAMPLED}: those with the most in flight"
    )
    sides: Sides


class Series(BaseModel):
    """`GET /v1/series`, oldest sample first; where the API or Redis was away, samples are missing."""

    model_config = ConfigDict(extra="ignore")

    step_s: int = Field(SAMPLE_EVERY_S, description="seconds between two samples")
    samples: list[Sample]
