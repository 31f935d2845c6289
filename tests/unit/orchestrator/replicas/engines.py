"""Replicas and addresses as tests have them."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, cast

import aiohttp

from platolm.engine_client import EngineClient
from platolm.errors import SpeakerError
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.replicas import (
    Replica,
)

A, B = "http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"
HANG_AFTER_S = 60.0
LOST = SpeakerError("did not answer", retryable=True)


class Resolver(dict[str, list[str]]):
    """Addresses by host; a host that is not in it does not resolve."""

    def getaddrinfo(self, host: str, port: int | None, *_args: Any, **_kwargs: Any) -> list[Any]:
        if host not in self:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # As getaddrinfo does it: more than one entry for an address is possible, their order is anybody's.
        return [(socket.AF_INET, kind, 0, "", (address, port)) for address in self[host] for kind in (1, 2)]


def reading(iterations: float = 1.0, running: int = 1) -> EngineReading:
    return EngineReading(iterations=iterations, running=running)


def replica(url: str = A, moved_at: float = 0.0) -> Replica:
    return Replica(EngineClient(cast("aiohttp.ClientSession", None), url), moved_at=moved_at)


async def waiting(engine: Replica, count: int = 1) -> list[asyncio.Task[None]]:
    """Tasks that wait for an answer of this engine."""

    async def wait() -> None:
        async with engine.waited_for(), asyncio.timeout(100):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    await asyncio.sleep(0)
    assert engine.speaking == set(tasks)
    return tasks
