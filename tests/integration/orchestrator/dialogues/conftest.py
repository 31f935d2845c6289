"""A real API process on a real Redis, before two fake model servers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from platolm.conversation import ASSISTANT, USER
from tests.fakes.gateway import FakeGateway
from tests.integration.orchestrator.api.runs import url_of
from tests.integration.orchestrator.processes import Process, api_process
from tests.redis_server import RedisServer

GATEWAY_KEY = "a-key-for-the-gateways"
MAX_DIALOGUES = 3


@dataclass
class Stage:
    """The API and whom it asks."""

    api: Process
    redis_url: str
    simulator: FakeGateway
    respondent: FakeGateway

    @property
    def url(self) -> str:
        return url_of(self.api)

    @property
    def folder(self) -> Path:
        return self.api.log.parent


@pytest.fixture(scope="package")
def package_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="package")
def package_stage(package_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    simulator, respondent = FakeGateway(USER, api_key=GATEWAY_KEY), FakeGateway(ASSISTANT, api_key=GATEWAY_KEY)
    with simulator.running(), respondent.running():
        api = api_process(
            tmp_path_factory.mktemp("api"),
            package_redis.url,
            simulator_url=simulator.url,
            respondent_url=respondent.url,
            gateway_api_key=GATEWAY_KEY,
            max_dialogues=MAX_DIALOGUES,
        ).start()
        yield Stage(api, package_redis.url, simulator, respondent)
        api.end()


@pytest.fixture
def stage(package_stage: Stage) -> Iterator[Stage]:
    """The stage with model servers as new."""
    for gateway in (package_stage.simulator, package_stage.respondent):
        gateway.reset()
    yield package_stage
    for gateway in (package_stage.simulator, package_stage.respondent):
        gateway.go_on()


@pytest.fixture
async def client(stage: Stage) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=stage.url, timeout=30) as client:
        yield client
