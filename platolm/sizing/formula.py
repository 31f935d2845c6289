"""The formula: what replicas of both sides reach together, from their curves and the tokens of a conversation.

A side's requests each generate g tokens and read p that are not cached. While n of them run at an engine that holds c
tokens a request, n are completed in

    t(n) = g · step(n, n·c) + n · (request_s + p · prefill_token_s)

seconds, so that it completes r(n) = n / t(n) requests a second. With N conversations in flight, X completed a second, u
utterances of each at a side and R replicas there, each replica completes X·u/R requests a second and has n(X·u/R) of
them running, n being the inverse of r. Every conversation is somewhere (Little's law):

    N = Σ over sides R · n(X·u/R)  +  X · u · (latency_s + orchestrator_s)

The right side grows with X, so one X solves it; X cannot pass the lower of both sides' R · max r(n) / u, with n up to
what the curve was measured to. N is bounded by the KV caches, R · kv_tokens / reserved, and by the workers'
max_in_flight.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.sizing.curves import EngineCurve
from platolm.sizing.load import ROLES, SideLoad

ORCHESTRATOR_S = 0.03
"""Between the end of an utterance at an engine and the next one's request; measured in docs/performance.md."""

_HALVINGS = 50
_ALIKE = 1e-9
_MOST_REPLICAS = 100_000


@dataclass(frozen=True)
class Side:
    """One side as it is to be served. `stolen_s`: an engine's time that each of its requests costs besides, where the
    orchestrator's processes run on the engine's own cores.
    """

    curve: EngineCurve
    load: SideLoad
    replicas: int
    stolen_s: float = 0.0

    @property
    def kv_conversations(self) -> float:
        """Conversations that this side's caches hold; one fits always."""
        return self.replicas * max(1.0, self.curve.kv_tokens / self.load.reserved)

    @property
    def most_running(self) -> float:
        """Requests of one replica that are reckoned with: more than were measured may run, and are not counted on."""
        most = min(self.curve.max_batch, self.curve.largest_measured)
        return min(float(most), self.kv_conversations / self.replicas)

    def seconds(self, running: float) -> float:
        """t(n): in which as many requests are completed as run."""
        load, curve = self.load, self.curve
        step = curve.step_s(running, running * load.context)
        each = curve.request_s + self.stolen_s + load.per_utterance(load.prefilled) * curve.prefill_token_s
        return load.per_utterance(load.generated) * step + running * each

    def rate(self, running: float) -> float:
        """r(n): requests a second of one replica; below one running request, the share of time that it has one."""
        return running / self.seconds(max(1.0, running))

    def best(self) -> tuple[float, float]:
        """The requests at a time at which one replica completes the most a second, and how many it does."""
        most = self.most_running
        candidates = {most, *(float(batch) for batch, _ in self.curve.steps if batch < most)}
        most_a_second = max(self.rate(running) for running in candidates)
        running = min(running for running in candidates if self.rate(running) >= most_a_second * (1 - _ALIKE))
        return running, self.rate(running)

    def conversations_per_s(self) -> float:
        """The most that this side can carry."""
        return self.replicas * self.best()[1] / self.load.utterances

    def running_at(self, conversations_per_s: float) -> float:
        """n: what one replica has running while the whole completes so many conversations a second."""
        wanted = conversations_per_s * self.load.utterances / self.replicas
        top, _ = self.best()
        return _least(lambda running: self.rate(running) >= wanted, 0.0, top)


@dataclass(frozen=True)
class Throughput:
    """What both sides reach. `running` is of one replica, `busy` its share of the most that it could complete."""

    conversations_per_s: float
    in_flight: float
    running: Mapping[str, float]
    busy: Mapping[str, float]
    limit: str

    @property
    def conversation_s(self) -> float:
        """How long a conversation takes from its claim to its end."""
        return self.in_flight / self.conversations_per_s


def throughput(
    sides: Mapping[str, Side], *, max_in_flight: float | None = None, orchestrator_s: float = ORCHESTRATOR_S
) -> Throughput:
    """Solve for the conversations a second of these replicas, with at most so many in flight."""
    by_cache = {role: side.kv_conversations for role, side in sides.items()}
    cache_limit = min(by_cache.values())
    allowed = cache_limit if max_in_flight is None else min(cache_limit, max_in_flight)
    ceilings = {role: side.conversations_per_s() for role, side in sides.items()}
    ceiling = min(ceilings.values())
    on_the_way = sum(side.load.utterances * (orchestrator_s + side.curve.latency_s) for side in sides.values())

    def in_flight(rate: float) -> float:
        running = sum(side.replicas * side.running_at(rate) for side in sides.values())
        return running + rate * on_the_way

    if in_flight(ceiling) <= allowed:
        rate, limit = ceiling, f"the {_name(min(ceilings, key=ceilings.__getitem__))}'s engines"
    else:
        rate = _least(lambda rate: in_flight(rate) >= allowed, 0.0, ceiling)
        by_kv = f"the {_name(min(by_cache, key=by_cache.__getitem__))}'s KV caches"
        limit = by_kv if allowed == cache_limit else "the conversations in flight"
    return Throughput(
        rate,
        in_flight(rate),
        {role: side.running_at(rate) for role, side in sides.items()},
        {role: rate / ceilings[role] for role in sides},
        limit,
    )


def replicas_for(
    conversations_per_s: float,
    side_of: Callable[[str, int], Side],
    *,
    max_in_flight: float | None = None,
    orchestrator_s: float = ORCHESTRATOR_S,
) -> dict[str, int]:
    """The fewest replicas a side, as `side_of(role, replicas)` makes it, that reach so many conversations a second.

    Raises:
        InputError: no number of replicas does, with so few conversations in flight.
    """

    def reached(counts: Mapping[str, int]) -> Throughput:
        sides = {role: side_of(role, counts[role]) for role in ROLES}
        return throughput(sides, max_in_flight=max_in_flight, orchestrator_s=orchestrator_s)

    def is_enough(found: Throughput) -> bool:
        return found.conversations_per_s >= conversations_per_s * (1 - _ALIKE)

    single = {role: side_of(role, 1).conversations_per_s() for role in ROLES}
    counts = {role: max(1, -int(-conversations_per_s // single[role])) for role in ROLES}
    while not is_enough(found := reached(counts)):
        if sum(counts.values()) > _MOST_REPLICAS:
            raise InputError(
                f"{max_in_flight or 0:,.0f} conversations in flight are too few for {conversations_per_s * 3600:,.0f} "
                "an hour, whatever the replicas: allow more (workers' max_in_flight)"
            )
        # Whichever side it helps more, or both: what is too many is taken back below.
        short = conversations_per_s / found.conversations_per_s - 1
        counts = {role: count + max(1, int(count * short / 2)) for role, count in counts.items()}
    for role in ROLES:
        while counts[role] > 1 and is_enough(reached(fewer := {**counts, role: counts[role] - 1})):
            counts = fewer
    return counts


def _name(role: str) -> str:
    return {USER: "simulator", ASSISTANT: "respondent"}[role]


def _least(is_enough: Callable[[float], bool], low: float, high: float) -> float:
    """The least number between both that is enough, of a condition that holds from there on."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
