from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from platolm.tokenizer import HubTokenizer
from services.gateway import watch
from services.gateway.client import EngineClient, EngineModel
from services.gateway.errors import RequestError, unavailable
from services.gateway.settings import GatewaySettings
from services.gateway.state import ServerState


class FakeEngine:
    """What the watch asks of an engine, with settable answers."""

    def __init__(self) -> None:
        self.is_healthy = True
        self.steps = 0
        self.generates = True

    async def healthy(self) -> bool:
        return self.is_healthy

    async def models(self) -> list[EngineModel]:
        return [EngineModel("model", 64)]

    async def complete(self, body: object) -> dict[str, object]:
        if not self.generates:
            raise unavailable("no weights yet", code="engine_busy")
        return {}

    async def metrics(self) -> str:
        return f"vllm:iteration_tokens_total_count {self.steps}.0"


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  the watch polls, and so do we
            await asyncio.sleep(0.001)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "_STARTING_INTERVAL_S", 0.001)
    monkeypatch.setattr(watch, "_RUNNING_INTERVAL_S", 0.001)
    monkeypatch.setattr(watch, "_STALL_AFTER_S", 0.05)


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


def watching(
    engine: FakeEngine, state: ServerState, tokenizer: HubTokenizer, timeout_s: float = 60
) -> asyncio.Task[None]:
    settings = GatewaySettings(model="m", startup_timeout_s=timeout_s)
    return asyncio.create_task(watch.watch_engine(cast(EngineClient, engine), settings, tokenizer, state))


async def stopped(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_ready_after_a_generation(engine: FakeEngine, tokenizer: HubTokenizer) -> None:
    engine.generates = False
    state = ServerState()
    task = watching(engine, state, tokenizer)
    await until(lambda: "no weights yet" in (state.reason or ""))
    with pytest.raises(RequestError):
        state.ready_engine()
    engine.generates = True
    await until(lambda: state.reason is None)
    assert state.ready_engine() == EngineModel("model", 64)
    state.draining = True
    assert state.reason == "shutting down"
    await stopped(task)


async def test_an_engine_that_stops_answering(engine: FakeEngine, tokenizer: HubTokenizer) -> None:
    state = ServerState()
    task = watching(engine, state, tokenizer)
    await until(lambda: state.reason is None)
    engine.is_healthy = False
    await until(lambda: state.reason == "the engine does not answer")
    engine.is_healthy = True
    await until(lambda: state.reason is None)
    await stopped(task)


async def test_an_engine_that_hangs(engine: FakeEngine, tokenizer: HubTokenizer) -> None:
    state = ServerState()
    task = watching(engine, state, tokenizer)
    await until(lambda: state.reason is None)
    state.enter()
    await until(lambda: state.reason == "the engine answers but generates nothing")
    engine.steps += 1
    await until(lambda: state.reason is None)
    state.leave()
    await state.wait_idle()
    await stopped(task)


async def test_an_engine_that_never_comes_up(engine: FakeEngine, tokenizer: HubTokenizer) -> None:
    engine.generates = False
    state = ServerState(startup_failure=asyncio.get_running_loop().create_future())
    task = watching(engine, state, tokenizer, timeout_s=0.05)
    assert state.startup_failure is not None
    assert await state.startup_failure == "the engine was not ready within 0.05 s"
    await stopped(task)
