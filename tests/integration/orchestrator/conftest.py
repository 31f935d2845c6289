"""Real Redis, and the fake engines for load and faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.orchestrator.queue import Queue
from tests.fakes.engine import FakeEngine
from tests.redis_server import RedisServer, system_redis


@pytest.fixture
def redis_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RedisServer]:
    """Redis 6.2 from the wheel; parametrized with "system", the system's own."""
    wants_system = getattr(request, "param", "embedded") == "system"
    binary = system_redis() if wants_system else None
    if wants_system and binary is None:
        pytest.skip("no redis-server on this system; the embedded one was tested")
    server = RedisServer(tmp_path / "redis", binary=binary)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        yield Queue(redis)


@pytest.fixture
def simulator(byte_tokenizer_folder: Path) -> Iterator[FakeEngine]:
    with FakeEngine(byte_tokenizer_folder, "socratic").running() as engine:
        yield engine


@pytest.fixture
def respondent(byte_tokenizer_folder: Path) -> Iterator[FakeEngine]:
    with FakeEngine(byte_tokenizer_folder, "platolm").running() as engine:
        yield engine
