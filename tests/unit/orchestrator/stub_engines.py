"""Engines without a server: what each URL answers is put down by the test."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson

from platolm.completions import Completion
from platolm.engine_client import EngineClient, EngineModel, RequestBody
from services.orchestrator.engines import replicas
from tests.unit.orchestrator.stopped_clock import StoppedClock

MOVING = "vllm:iteration_tokens_total_count{} 1\n"


class Never:
    """An answer that does not come."""


NEVER = Never()


@dataclass
class StubEngines:
    """`metrics` and `models` answer by URL: a value, an error to raise, or `NEVER`.

    `completions` are taken one by one, from the engine's own list, and where there is none, `always` answers; `asked`
    holds every request's URL and body. With a `clock`, each takes a second of it.
    """

    metrics: dict[str, str | Exception | Never] = field(default_factory=dict)
    models: dict[str, Sequence[EngineModel] | Exception | Never] = field(default_factory=dict)
    completions: dict[str, list[Completion | Exception | Never]] = field(default_factory=dict)
    always: dict[str, Exception] = field(default_factory=dict)
    asked: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    clock: StoppedClock | None = None

    def client(self, _session: object, base_url: str) -> StubEngine:
        return StubEngine(self, base_url)

    def installed(self, monkeypatch: Any) -> StubEngines:
        """Replicas made from now on are these."""
        monkeypatch.setattr(replicas, "EngineClient", self.client)
        return self


class StubEngine(EngineClient):
    def __init__(self, engines: StubEngines, base_url: str) -> None:
        self._engines = engines
        self.base_url = base_url

    async def metrics(self) -> str:
        return cast("str", await _given(self._engines.metrics.get(self.base_url, MOVING)))

    async def models(self) -> list[EngineModel]:
        return list(await _given(self._engines.models[self.base_url]))

    async def complete(self, body: RequestBody) -> Completion:
        self._engines.asked.append((self.base_url, orjson.loads(body.take())))
        if self._engines.clock is not None:
            self._engines.clock.now += 1.0
        coming = self._engines.completions.get(self.base_url)
        return cast("Completion", await _given(coming.pop(0) if coming else self._engines.always[self.base_url]))

    async def complete_streaming(self, body: RequestBody, take: Callable[[list[int]], None]) -> Completion:
        """An id at a time."""
        completion = await self.complete(body)
        for token_id in completion.token_ids:
            take([token_id])
            await asyncio.sleep(0)
        return completion


async def _given(answer: Any) -> Any:
    if isinstance(answer, Never):
        await asyncio.Event().wait()
    if isinstance(answer, Exception):
        raise answer
    return answer
