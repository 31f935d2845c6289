"""A run of the model: what it is given, and what came of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from platolm.sizing.curves import EngineCurve
from platolm.sizing.formula import ORCHESTRATOR_S
from simulation import loop
from simulation.placement import Policy
from simulation.state import (
    BUSY_SHARES,
    LEVELS_PER_TENFOLD,
    SHORTEST_S,
    Engines,
    Floats,
    Ints,
    Tally,
    conversations_of,
    empty_tally,
    engines_of,
)
from simulation.workload import Workload


@dataclass(frozen=True)
class Change:
    """An engine is killed at a moment, or joins; `engine` counts through the user's side, then the assistant's."""

    at_s: float
    engine: int
    joins: bool = False


@dataclass(frozen=True)
class Setup:
    """Engines of both sides by their curves, as many on each; how conversations are placed, and how many at a time.

    `first_need` is what a conversation reserves until some have ended: the context that the run allows.
    """

    simulators: Sequence[EngineCurve]
    respondents: Sequence[EngineCurve]
    policy: Policy
    max_in_flight: int
    first_need: int = 1024
    orchestrator_s: float = ORCHESTRATOR_S
    changes: Sequence[Change] = field(default_factory=tuple)
    bin_s: float = 1.0

    def __post_init__(self) -> None:
        if len(self.simulators) != len(self.respondents):
            raise ValueError("the model takes as many simulators as respondents")


@dataclass(frozen=True)
class Outcome:
    """What a run came to. Shares are of all engines' time or tokens; times in seconds."""

    seconds: float
    conversations: int
    generated_tokens: int
    prompt_tokens: int
    hit_tokens: int
    attainable_tokens: int
    repeated_tokens: int
    moves: int
    busy_share: float
    tail_s: tuple[float, ...]
    """After which no moment had the shares of `BUSY_SHARES` of the living engines busy."""
    mean_wait_s: float
    waits: tuple[float, float, float]
    """The median, 99 of 100 and 999 of 1,000 of the time that requests wait at an engine before they begin."""
    latencies: tuple[float, float, float]
    """The same of whole utterances, waiting included."""
    mean_conversation_s: float
    tokens_by_time: Ints
    busy_by_time: Floats

    @property
    def conversations_per_h(self) -> float:
        return self.conversations / self.seconds * 3600

    @property
    def hit_share(self) -> float:
        """Of all prompt tokens, those that were found in a cache."""
        return self.hit_tokens / self.prompt_tokens

    @property
    def hits_of_attainable(self) -> float:
        """Of what a conversation's earlier requests leave for its later ones, what was found."""
        return self.hit_tokens / max(1, self.attainable_tokens)


def simulate(setup: Setup, workload: Workload) -> Outcome:
    """Follow all conversations from the first claim to the last end."""
    engines = engines_of([*setup.simulators, *setup.respondents])
    talks = conversations_of(
        workload.first, workload.tokens, opening_tokens=workload.opening_tokens, framing_tokens=workload.framing_tokens
    )
    tally = empty_tally()
    rules = loop.Rules(int(setup.policy), setup.max_in_flight, setup.orchestrator_s, setup.bin_s)
    ordered = sorted(setup.changes, key=lambda change: change.at_s)
    churn = loop.Churn(
        np.array([change.at_s for change in ordered], np.float64),
        np.array([change.engine for change in ordered], np.int64),
        np.array([int(change.joins) for change in ordered], np.int64),
    )
    seconds = loop.run(engines, talks, tally, rules, churn, setup.first_need)
    return _outcome(setup, workload, engines, tally, float(seconds))


def _outcome(setup: Setup, workload: Workload, engines: Engines, tally: Tally, seconds: float) -> Outcome:
    bins = min(len(tally.tokens_by_time), math.ceil(seconds / setup.bin_s))
    num_requests = int(tally.waits.sum())
    return Outcome(
        seconds=seconds,
        conversations=workload.num_conversations,
        generated_tokens=int(engines.generated.sum()),
        prompt_tokens=int(tally.prompt_tokens[0]),
        hit_tokens=int(tally.hit_tokens[0]),
        attainable_tokens=int(tally.attainable_tokens[0]),
        repeated_tokens=int(tally.repeated_tokens[0]),
        moves=int(tally.moves[0]),
        busy_share=float(engines.busy_s.sum() / (seconds * len(engines.busy_s))),
        tail_s=tuple(seconds - float(tally.busy_until[number]) for number in range(len(BUSY_SHARES))),
        mean_wait_s=float(tally.waited_s[0]) / num_requests,
        waits=_quantiles(tally.waits),
        latencies=_quantiles(tally.latencies),
        mean_conversation_s=float(tally.conversation_s[0]) / workload.num_conversations,
        tokens_by_time=tally.tokens_by_time[:bins],
        busy_by_time=tally.busy_by_time[:bins] / setup.bin_s,
    )


def _quantiles(levels: Ints) -> tuple[float, float, float]:
    """Upper bounds of the levels of a histogram of equal ratios; the first one counts as no time at all."""
    reached = np.cumsum(levels) / max(1, levels.sum())
    median, high, highest = (int(np.searchsorted(reached, share)) for share in (0.5, 0.99, 0.999))
    return _seconds(median), _seconds(high), _seconds(highest)


def _seconds(level: int) -> float:
    return 0.0 if level == 0 else SHORTEST_S * 10 ** (level / LEVELS_PER_TENFOLD)
