"""A worker and what it is handed: whatever cannot be started goes back, or is counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import EngineModel
from platolm.errors import SpeakerError
from platolm.runs import RunState
from platolm.spec import RunSpec
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.engines.sides import Sides
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue import Claim, Claimed, Outcome, Queue
from services.orchestrator.queue.reports import WorkerReport
from services.orchestrator.settings import WorkerSettings
from services.orchestrator.worker import Worker
from services.tracing import NO_TRACING
from tests.unit.orchestrator.stub_engines import StubEngines

SIMULATOR, RESPONDENT = "http://127.0.0.1:8011/v1", "http://127.0.0.1:8012/v1"
AWAY = RedisConnectionError("away")
REFUSED = SpeakerError("answered 400: too long", status=400)
BOTH = {"run-a-00000000", "run-a-00000001"}


@dataclass
class StubQueue:
    """Hands out `seeds` once, as conversations of one run; the next calls of a name raise what `errors` has for it."""

    seeds: list[str]
    errors: dict[str, list[Exception]] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    released: set[str] = field(default_factory=set)
    failed: dict[str, str] = field(default_factory=dict)
    reports: list[WorkerReport] = field(default_factory=list)

    def _happen(self, call: str) -> None:
        if self.errors.get(call):
            raise self.errors[call].pop(0)

    async def claim(self, worker: str, **_options: object) -> Claimed:
        placed = {USER: SIMULATOR, ASSISTANT: RESPONDENT}
        claims = [
            Claim(f"run-a-{index:08d}", "run-a", index, seed, f"token-{index}", [], placed)
            for index, seed in enumerate(self.seeds)
        ]
        self.seeds = []
        self.held.update({claim.conversation_id: claim.token for claim in claims})
        return Claimed(claims, [])

    async def run_spec(self, run_id: str) -> RunSpec:
        self._happen("run_spec")
        return RunSpec(conversations=2)

    async def release(self, conversation_id: str, token: str) -> bool:
        self._happen("release")
        assert self.held.pop(conversation_id) == token
        self.released.add(conversation_id)
        return True

    async def fail(self, conversation_id: str, token: str, error: str) -> Outcome:
        self._happen("fail")
        assert self.held.pop(conversation_id) == token
        self.failed[conversation_id] = error
        return Outcome.REQUEUED

    async def renew(self, worker: str, *, lease_ms: int) -> dict[str, str]:
        return dict(self.held)

    async def reclaim(self, worker: str, *, lease_ms: int) -> int:
        return 0

    async def register(self, worker: str, *, lease_ms: int) -> None:
        pass

    async def watched(self) -> frozenset[str]:
        return frozenset()

    async def report(self, worker: str, report: WorkerReport) -> None:
        self._happen("report")
        self.reports.append(report)

    async def unregister(self, worker: str) -> None:
        assert self.held == {}

    async def publish_side(self, side: str, description: dict[str, Any]) -> None:
        pass

    async def active_runs(self) -> list[str]:
        return []

    async def open_runs(self) -> list[str]:
        return []

    async def pause(self, *_args: object) -> RunState:
        raise AssertionError("nothing here is the run's fault")


Work = Callable[[StubQueue], Any]


@pytest.fixture
async def work(byte_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Work:
    """Runs a worker until it holds nothing of what it was handed; its engines refuse whatever they are asked."""
    root = str(byte_tokenizer_folder)
    models = {SIMULATOR: [EngineModel("socratic", root, 1024)], RESPONDENT: [EngineModel("platolm", root, 1024)]}
    StubEngines(models=dict(models), always=dict.fromkeys(models, REFUSED)).installed(monkeypatch)
    pools = Pools(
        Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60), {USER: [SIMULATOR], ASSISTANT: [RESPONDENT]}
    )
    settings = WorkerSettings(lease_s=0.4, poll_interval_s=0.01, refresh_s=0.05)

    async def until_empty(queue: StubQueue) -> None:
        sides = Sides(pools, {USER: None, ASSISTANT: None})
        worker = Worker(settings, cast("Queue", queue), sides, WorkerMetrics(CollectorRegistry()), NO_TRACING)
        async with asyncio.timeout(20), asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            while queue.seeds or queue.held:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            worker.stopping.set()

    return until_empty


@pytest.mark.parametrize(
    ("seed", "told"),
    [
        ("{", "its seed cannot be read: Invalid JSON: EOF while parsing an object at line 1 column 1"),
        ('{"question": 3}', "its seed cannot be read: question: Input should be a valid string"),
        ('{"riddle": "a text"}', "its seed cannot be read: riddle: Extra inputs are not permitted"),
    ],
)
async def test_a_seed_that_cannot_be_read_is_counted_and_costs_no_other(work: Work, seed: str, told: str) -> None:
    queue = StubQueue([seed, "{}"])
    await work(queue)
    assert queue.failed == {"run-a-00000000": told, "run-a-00000001": str(REFUSED)}
    assert queue.released == set()


@pytest.mark.parametrize("errors", [{"run_spec": [AWAY]}, {"run_spec": [AWAY], "release": [AWAY]}, {"fail": [AWAY]}])
async def test_what_redis_left_unstarted_goes_back(work: Work, errors: dict[str, list[Exception]]) -> None:
    """Redis goes away when claims have come: those that nobody began must not stay with this worker."""
    queue = StubQueue(["{", "{}"], errors)
    await work(queue)
    assert {*queue.released, *queue.failed} == BOTH
    assert errors == {name: [] for name in errors}
