"""The same run step by step: each engine's every step is an event. Slow, and written without the model's code."""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from dataclasses import dataclass, field

from platolm.sizing.curves import EngineCurve
from simulation.workload import Workload


@dataclass
class Request:
    talk: int
    prompt: int
    tokens: int
    made: int = 0


@dataclass
class StepEngine:
    """Requests begin between two steps; the next step reads their prompts."""

    curve: EngineCurve
    waiting: deque[Request] = field(default_factory=deque)
    running: list[Request] = field(default_factory=list)
    cache: OrderedDict[int, int] = field(default_factory=OrderedDict)
    used: int = 0
    is_stepping: bool = False
    hits: int = 0

    def blocks(self, tokens: int) -> int:
        return -(-tokens // self.curve.block_tokens)

    def begin_step(self) -> float:
        """Let requests in, and give how long the step will take."""
        total = self.curve.kv_tokens // self.curve.block_tokens
        reading_s = 0.0
        while self.waiting and len(self.running) < self.curve.max_batch:
            first = self.waiting[0]
            need = self.blocks(first.prompt + first.tokens)
            if self.running and self.used + need > total:
                break
            self.running.append(self.waiting.popleft())
            hit = self.cache.pop(first.talk, 0)
            self.used += need
            self.evict(total)
            self.hits += hit * self.curve.block_tokens
            reading_s += self.curve.request_s + self.curve.prefill_token_s * (
                first.prompt - hit * self.curve.block_tokens
            )
        held = sum(one.prompt + one.made for one in self.running)
        return reading_s + self.curve.step_s(len(self.running), held)

    def end_step(self) -> list[Request]:
        """Everyone has a token more; gives who is done."""
        for one in self.running:
            one.made += 1
        done = [one for one in self.running if one.made == one.tokens]
        self.running = [one for one in self.running if one.made < one.tokens]
        for one in done:
            size = one.prompt + one.tokens
            self.used -= self.blocks(size)
            self.cache[one.talk] = (size - 1) // self.curve.block_tokens
        return done

    def evict(self, total: int) -> None:
        """Give up what was left first until the rest fits."""
        over = self.used + sum(self.cache.values()) - total
        while over > 0 and self.cache:
            talk, blocks = next(iter(self.cache.items()))
            if blocks > over:
                self.cache[talk] = blocks - over
                return
            del self.cache[talk]
            over -= blocks


def step_by_step(
    curve: EngineCurve, workload: Workload, replicas: int, in_flight: int, orchestrator_s: float
) -> tuple[float, int]:
    """Conversations placed round robin; gives the seconds that all take, and the prompt tokens found in caches."""
    engines = [[StepEngine(curve) for _ in range(replicas)] for _ in range(2)]
    total = workload.num_conversations
    said = [0] * total
    context = [workload.opening_tokens] * total
    seats: list[list[int]] = [[-1, -1] for _ in range(total)]
    turns = [0, 0]
    events: list[tuple[float, int, int, int]] = [(orchestrator_s, 1, 0, talk) for talk in range(min(in_flight, total))]
    heapq.heapify(events)
    handed, now = len(events), 0.0

    def tokens_of(talk: int) -> int:
        return int(workload.tokens[workload.first[talk] + said[talk]])

    def step(side: int, number: int) -> None:
        one = engines[side][number]
        one.is_stepping = bool(one.running or one.waiting)
        if one.is_stepping:
            heapq.heappush(events, (now + one.begin_step(), 0, side, number))

    while events:
        now, kind, side, number = heapq.heappop(events)
        if kind == 1:
            talk = number
            side = said[talk] % 2
            if seats[talk][side] < 0:
                seats[talk][side] = turns[side] % replicas
                turns[side] += 1
            one = engines[side][seats[talk][side]]
            one.waiting.append(Request(talk, context[talk], tokens_of(talk)))
            if not one.is_stepping:
                step(side, seats[talk][side])
            continue
        for done in engines[side][number].end_step():
            context[done.talk] += done.tokens + workload.framing_tokens
            said[done.talk] += 1
            if said[done.talk] < workload.first[done.talk + 1] - workload.first[done.talk]:
                heapq.heappush(events, (now + orchestrator_s, 1, 0, done.talk))
            elif handed < total:
                heapq.heappush(events, (now + orchestrator_s, 1, 0, handed))
                handed += 1
        step(side, number)
    return now, sum(one.hits for of_side in engines for one in of_side)
