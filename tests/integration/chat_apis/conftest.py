"""A real Redis, with the scripts of pace and budget."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from platolm.chat_apis.budget import budget_scripts
from platolm.chat_apis.pacing import ScriptCaller, pacing_scripts
from services.orchestrator.queue import open_redis
from services.orchestrator.queue.connection import Scripts
from services.orchestrator.redis_settings import RedisSettings
from tests.redis_server import RedisServer, system_redis


@pytest.fixture(scope="module", params=["embedded", "system"])
def redis_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """Redis 6.2 from the wheel, and the system's own."""
    binary = system_redis() if request.param == "system" else None
    if request.param == "system" and binary is None:
        pytest.skip("no redis-server on this system; the embedded one was tested")
    server = RedisServer(tmp_path_factory.mktemp("redis"), binary=binary)
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    """Empty."""
    async with open_redis(RedisSettings(redis_url=redis_server.url)) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def call(redis: Redis) -> AsyncIterator[ScriptCaller]:
    """The scripts, as a worker calls them."""
    scripts = Scripts(redis, {**pacing_scripts(), **budget_scripts()})
    yield scripts.call
    await scripts.close()
