"""A run's plan: replicas, workers, GPU-hours and cost for so many conversations an hour, or the other way round."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, Field

from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.sizing.curves import EngineCurve
from platolm.sizing.formula import ORCHESTRATOR_S, Side, Throughput, replicas_for, throughput
from platolm.sizing.load import ROLES, SideLoad

WORKER_UTTERANCES_PER_S = 1500.0
"""Of a worker process, which has a core: what `benchmarks.overhead` wants, and dialogues of 2,048 tokens reach."""

REDIS_CORE_S = 0.0000351
"""Redis's processor time for an utterance (`benchmarks.overhead`: 0.098 cores at 2,784 utterances/s)."""

WORKER_KIB_PER_CONVERSATION = 64
"""Of a worker's memory, for a conversation in flight (`benchmarks.overhead`: 48 to 62)."""

SHARED_CORE_S = 0.0004
"""Processor time of worker, Redis, API and writer for an utterance, where engines have no cores of their own."""

SECONDS_PER_HOUR = 3600.0
SIDE_NAMES: Mapping[str, str] = {USER: "simulator", ASSISTANT: "respondent"}


@dataclass(frozen=True)
class Wish:
    """What is asked: a rate to reach, or replicas by role; exactly one of both.

    `headroom` is the share of the rate that is kept free. `shared_cores`: the orchestrator runs on the engines' cores.
    """

    curves: Mapping[str, EngineCurve]
    loads: Mapping[str, SideLoad]
    conversations_per_h: float | None = None
    replicas: Mapping[str, int] | None = None
    conversations: int | None = None
    price_per_gpu_h: float | None = None
    max_in_flight: int | None = None
    headroom: float = 0.0
    shared_cores: bool = False
    orchestrator_s: float = ORCHESTRATOR_S


class SidePlan(BaseModel):
    """One side's engines. `busy` is the share of what they could complete."""

    curve: str
    is_measured: bool
    replicas: int
    gpus: float
    running_per_replica: float
    busy: float
    tokens_per_s: float = Field(description="generated, by all replicas")
    prefilled_per_s: float = Field(description="prompt tokens read that were not cached")
    reserved_tokens: float = Field(description="of a KV cache, for a conversation")
    kv_conversations: float = Field(description="that the KV caches hold")


class Plan(BaseModel):
    """What a run takes, and what limits it."""

    conversations_per_h: float
    limit: str
    in_flight: float
    conversation_s: float = Field(description="from a conversation's claim to its end")
    utterances_per_s: float
    sides: dict[str, SidePlan] = Field(description="simulator and respondent")
    workers: int = Field(description="processes, a core each")
    worker_memory_mib: float = Field(description="of all of them, for the conversations in flight")
    redis_cores: float
    gpus: float
    gpu_s_per_conversation: float | None
    conversations_per_gpu_h: float | None
    conversations: int | None = None
    hours: float | None = None
    gpu_hours: float | None = None
    cost: float | None = None
    cost_per_1000: float | None = None
    warnings: list[str] = Field(default_factory=list)


def plan(wish: Wish) -> Plan:
    """Work a wish out.

    Raises:
        InputError: it asks for both or neither of rate and replicas, or for what no number of replicas reaches.
    """
    if (wish.conversations_per_h is None) == (wish.replicas is None):
        raise InputError("give either the conversations an hour to reach, or the replicas that are there")
    if not 0 <= wish.headroom < 1:
        raise InputError("headroom is a share below 1, such as 0.1")
    counts = wish.replicas or _replicas(wish)
    sides = {role: _side(wish, role, counts[role]) for role in ROLES}
    reached = throughput(sides, max_in_flight=wish.max_in_flight, orchestrator_s=wish.orchestrator_s)
    return _told(wish, sides, reached)


def _replicas(wish: Wish) -> dict[str, int]:
    assert wish.conversations_per_h is not None
    return replicas_for(
        wish.conversations_per_h / (1 - wish.headroom) / SECONDS_PER_HOUR,
        lambda role, count: _side(wish, role, count),
        max_in_flight=wish.max_in_flight,
        orchestrator_s=wish.orchestrator_s,
    )


def _side(wish: Wish, role: str, replicas: int) -> Side:
    stolen_s = SHARED_CORE_S if wish.shared_cores else 0.0
    return Side(wish.curves[role], wish.loads[role], replicas, stolen_s)


def _told(wish: Wish, sides: Mapping[str, Side], reached: Throughput) -> Plan:
    rate = reached.conversations_per_s * (1 - wish.headroom)
    utterances_per_s = rate * sum(side.load.utterances for side in sides.values())
    gpus = sum(side.replicas * side.curve.gpus for side in sides.values())
    told = Plan(
        conversations_per_h=rate * SECONDS_PER_HOUR,
        limit=reached.limit,
        in_flight=reached.in_flight,
        conversation_s=reached.conversation_s,
        utterances_per_s=utterances_per_s,
        sides={SIDE_NAMES[role]: _side_plan(side, role, reached, rate) for role, side in sides.items()},
        workers=max(1, math.ceil(utterances_per_s / WORKER_UTTERANCES_PER_S)),
        worker_memory_mib=reached.in_flight * WORKER_KIB_PER_CONVERSATION / 1024,
        redis_cores=utterances_per_s * REDIS_CORE_S,
        gpus=gpus,
        gpu_s_per_conversation=gpus / rate if gpus else None,
        conversations_per_gpu_h=rate * SECONDS_PER_HOUR / gpus if gpus else None,
        warnings=_warnings(sides),
    )
    if wish.conversations is not None:
        hours = wish.conversations / rate / SECONDS_PER_HOUR
        told = told.model_copy(update={"conversations": wish.conversations, "hours": hours, "gpu_hours": hours * gpus})
    if wish.price_per_gpu_h is None or not gpus:
        return told
    each = wish.price_per_gpu_h * gpus / rate / SECONDS_PER_HOUR
    cost = None if wish.conversations is None else each * wish.conversations
    return told.model_copy(update={"cost_per_1000": 1000 * each, "cost": cost})


def _side_plan(side: Side, role: str, reached: Throughput, rate: float) -> SidePlan:
    return SidePlan(
        curve=side.curve.name,
        is_measured=side.curve.is_measured,
        replicas=side.replicas,
        gpus=side.replicas * side.curve.gpus,
        running_per_replica=reached.running[role],
        busy=reached.busy[role],
        tokens_per_s=rate * side.load.generated,
        prefilled_per_s=rate * side.load.prefilled,
        reserved_tokens=side.load.reserved,
        kv_conversations=side.kv_conversations,
    )


def _warnings(sides: Mapping[str, Side]) -> list[str]:
    warnings = []
    for role, side in sides.items():
        name, curve = SIDE_NAMES[role], side.curve
        if not curve.is_measured:
            warnings.append(f"{name}: the curve {curve.name!r} is not measured ({curve.source})")
        if curve.kv_tokens < side.load.reserved:
            warnings.append(f"{name}: a KV cache of {curve.kv_tokens:,} tokens holds less than one conversation")
    return warnings
