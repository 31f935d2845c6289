"""A real API process on a real Redis, without workers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import (
    ENDPOINTS,
    url_of,
)
from tests.integration.orchestrator.processes import Process, api_process
from tests.redis_server import RedisServer


@pytest.fixture(scope="package")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def api(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("api")
    allowed = {"allowed_endpoints": ENDPOINTS, "allowed_outputs": f"file://{folder}/out"}
    process = api_process(folder, redis_server.url, **allowed, max_request_mib=64).start()
    yield process
    process.end()


@pytest.fixture(scope="package")
def folder(api: Process) -> Path:
    return api.log.parent


@pytest.fixture
async def client(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url_of(api), timeout=60) as client:
        yield client


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        yield Queue(redis)
