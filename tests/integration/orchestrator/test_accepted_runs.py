"""A run that a client was told of survives a Redis that forgot it, and comes back as far as its dataset is."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.redis_server import RedisServer


@dataclass
class Stack:
    api: Api
    redis: RedisServer
    data_dir: Path
    worker: Process

    @property
    def accepted(self) -> list[str]:
        return sorted(path.stem for path in (self.data_dir / "accepted").glob("*.json"))

    def lose_redis(self) -> None:
        """Redis comes back with nothing."""
        self.redis.kill()
        shutil.rmtree(self.redis.folder)
        self.redis.start()


@pytest.fixture
def stack(redis_server: RedisServer, tmp_path: Path, simulator: FakeEngine, respondent: FakeEngine) -> Iterator[Stack]:
    simulator.latency_s = respondent.latency_s = 0.1
    api = api_process(tmp_path, redis_server.url).start()
    writer = writer_process(tmp_path, redis_server.url, segment_age_s=0.1).start()
    worker = worker_process(tmp_path, redis_server.url, simulator.url, respondent.url, max_in_flight=4, lease_s=2.0)
    yield Stack(api_of(api), redis_server, tmp_path / "data", worker)
    for process in (worker, writer, api):
        process.end()


def test_a_run_that_redis_forgot_is_made_again(stack: Stack) -> None:
    body = {"spec": {"conversations": 30, "endings": {"max_turns": 6}}}
    first = stack.api.submit(body, **{"Idempotency-Key": "mine"})
    assert first.status_code == 201
    run_id = first.json()["id"]
    assert stack.accepted == [run_id]
    stack.worker.start()
    wait_until(lambda: stack.api.run(run_id)["committed"] >= 6, what="commits")
    committed = {record["index"]: record for record in stack.api.dataset(run_id)}
    stack.lose_redis()
    wait_until(lambda: run_id in [run["id"] for run in stack.api.runs()], what="the run is there again")
    stack.api.wait_completed(run_id)
    records = {record["index"]: record for record in stack.api.dataset(run_id)}
    assert sorted(records) == list(range(30))
    assert {index: records[index] for index in committed} == committed
    again = stack.api.submit(body, **{"Idempotency-Key": "mine"})
    assert (again.status_code, again.json()["id"]) == (200, run_id)
    wait_until(lambda: stack.accepted == [], what="the file of a run that is over is removed")


def test_a_run_that_is_over_is_not_made_again(stack: Stack) -> None:
    run_id = stack.api.submit({"spec": {"conversations": 5, "endings": {"max_turns": 2}}}).json()["id"]
    cancelled = stack.api.act(run_id, "cancel")
    assert cancelled["state"] in ("cancelling", "cancelled")
    wait_until(lambda: stack.accepted == [], what="the file of a run that is over is removed")
    stack.lose_redis()
    body = {"spec": {"conversations": 1, "endings": {"max_turns": 2}}}
    wait_until(
        lambda: stack.api.submit(body, **{"Idempotency-Key": "other"}).status_code in (200, 201), what="Redis answers"
    )
    other = stack.api.submit(body, **{"Idempotency-Key": "other"}).json()["id"]
    stack.worker.start()
    stack.api.wait_completed(other)
    assert [run["id"] for run in stack.api.runs()] == [other]
