"""Watches the engine: ready after a real generation, not ready when it stops answering or stops moving."""

from __future__ import annotations

import asyncio
import time
from typing import NoReturn

import aiohttp
import structlog

from platolm.tokenizer import TextTokenizer
from services.gateway.client import EngineClient, EngineModel
from services.gateway.errors import RequestError
from services.gateway.settings import GatewaySettings
from services.gateway.state import ServerState

_STARTING_INTERVAL_S = 0.5
_RUNNING_INTERVAL_S = 2.0
_FAILURES_ALLOWED = 2
_STALL_AFTER_S = 120.0
_PROGRESS_METRIC = "vllm:iteration_tokens_total_count"

log = structlog.get_logger()


async def watch_engine(
    client: EngineClient, settings: GatewaySettings, tokenizer: TextTokenizer, state: ServerState
) -> NoReturn:
    """Bring `state` to ready and keep it true, until cancelled.

    An engine that never comes up sets `state.startup_failure`; one at `engine_url` is waited for without end.
    """
    started = time.monotonic()
    limit = None if settings.engine_url is not None else settings.startup_timeout_s
    try:
        async with asyncio.timeout(limit):
            state.engine = await _first_generation(client, settings, tokenizer, state)
    except TimeoutError:
        if state.startup_failure is not None and not state.startup_failure.done():
            state.startup_failure.set_result(f"the engine was not ready within {limit:g} s")
        await asyncio.Event().wait()
    state.not_ready_reason = None
    log.info("ready", engine=settings.engine_base_url, after_s=round(time.monotonic() - started, 1))
    await _keep_watching(client, state)


async def _first_generation(
    client: EngineClient, settings: GatewaySettings, tokenizer: TextTokenizer, state: ServerState
) -> EngineModel:
    while True:
        try:
            if await client.healthy():
                model = choose_model(await client.models(), settings.served_model_name)
                await client.complete({"model": model.name, "prompt": [tokenizer.bos_id], "max_tokens": 1})
                return model
        except (aiohttp.ClientError, TimeoutError, RequestError, ValueError, KeyError) as error:
            state.not_ready_reason = f"the engine does not generate yet: {error}"
        await asyncio.sleep(_STARTING_INTERVAL_S)


async def _keep_watching(client: EngineClient, state: ServerState) -> NoReturn:
    num_failures = 0
    progress, moved_at = "", time.monotonic()
    while True:
        await asyncio.sleep(_RUNNING_INTERVAL_S)
        num_failures = 0 if await client.healthy() else num_failures + 1
        if num_failures > _FAILURES_ALLOWED:
            _report(state, "the engine does not answer")
            continue
        seen = progress_of(await client.metrics()) if state.num_in_flight else ""
        if seen != progress or not seen:
            progress, moved_at = seen, time.monotonic()
        stalled = time.monotonic() - moved_at > _STALL_AFTER_S
        _report(state, "the engine answers but generates nothing" if stalled else None)


def _report(state: ServerState, reason: str | None) -> None:
    if reason != state.not_ready_reason:
        log.warning("readiness changed", reason=reason or "ready")
    state.not_ready_reason = reason


def choose_model(models: list[EngineModel], wanted: str) -> EngineModel:
    """The engine's model of that name, or its only other one.

    Raises:
        ValueError: the engine serves nothing.
    """
    for model in models:
        if model.name == wanted:
            return model
    if not models:
        raise ValueError("it serves no model")
    return models[0]


def progress_of(metrics: str) -> str:
    """The engine's count of scheduler steps, as text: it moves while the engine works (vllm-project/vllm#36451)."""
    return "".join(line.rpartition(" ")[2] for line in metrics.splitlines() if line.startswith(_PROGRESS_METRIC))
