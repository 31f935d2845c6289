"""One run's keeper: when it pauses the run, when it lifts the pause, how long it waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from redis.exceptions import ResponseError

from platolm.runs import PausedBy, RunState
from platolm.spec import RunSpec
from services.orchestrator.datasets.run_place import RunPlaces
from services.orchestrator.metrics.writer import WriterMetrics
from services.orchestrator.queue import Queue
from services.orchestrator.run_keeper.keeper import Keeper, retry_delay_s
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings


class FakeQueue(Queue):
    """Notes pauses and what lifts them."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.refuses = False

    async def pause(self, run_id: str, by: PausedBy, reason: str) -> RunState | None:
        if self.refuses:
            raise ResponseError("OOM command not allowed")
        self.notes.append(f"paused by {by}: {reason}")
        return RunState.PAUSED

    async def resume(
        self, run_id: str, by: PausedBy | None = None, *, budget_nanos: int | None = None
    ) -> RunState | None:
        self.notes.append(f"resumed by {by}")
        return RunState.RUNNING


class FakePart:
    """Fails while it has an error."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.done = 0

    async def step(self) -> int:
        await self.probe()
        return self.done

    async def probe(self) -> None:
        if self.error is not None:
            raise self.error


@pytest.fixture
def queue() -> FakeQueue:
    return FakeQueue()


@pytest.fixture
def keeper(queue: FakeQueue, tmp_path: Path) -> Keeper:
    run = OpenRun("run-a", RunSpec(conversations=1), RunPlaces(tmp_path))
    metrics = WriterMetrics(CollectorRegistry())
    return Keeper(run, queue, WriterSettings(poll_interval_s=0.5), metrics=metrics, stopping=asyncio.Event())


@pytest.mark.parametrize(("failures", "most_s"), [(1, 1.0), (2, 2.0), (5, 16.0), (7, 60.0), (10_000, 60.0)])
def test_retries_come_at_growing_distances(failures: int, most_s: float) -> None:
    delays = [retry_delay_s(failures) for _ in range(200)]
    assert most_s / 2 <= min(delays) <= max(delays) <= most_s
    assert len(set(delays)) > 100


async def test_a_part_that_has_work_goes_on_at_once(keeper: Keeper) -> None:
    part = FakePart()
    assert await keeper._step(part) == 0.5
    part.done = 1
    assert await keeper._step(part) == 0.0


async def test_a_failure_pauses_and_a_probe_that_succeeds_resumes(keeper: Keeper, queue: FakeQueue) -> None:
    part = FakePart(OSError("bucket away"))
    for most_s in (1.0, 2.0, 4.0):
        assert most_s / 2 <= await keeper._step(part) <= most_s
    assert queue.notes == ["paused by writer: bucket away"] * 3
    assert keeper.problem == "bucket away"
    part.error = None
    assert await keeper._step(part) == 0.5
    assert queue.notes[3:] == ["resumed by writer"]
    assert keeper.problem is None


async def test_a_run_is_resumed_once_both_parts_recovered(keeper: Keeper, queue: FakeQueue) -> None:
    parts = [FakePart(OSError("one")), FakePart(OSError("two"))]
    for part in parts:
        await keeper._step(part)
        part.error = None
    queue.notes.clear()
    await keeper._step(parts[0])
    assert queue.notes == []
    await keeper._step(parts[1])
    assert queue.notes == ["resumed by writer"]


async def test_redis_that_refuses_the_pause_ends_nothing(keeper: Keeper, queue: FakeQueue) -> None:
    queue.refuses = True
    assert await keeper._step(FakePart(OSError("full"))) <= 1.0
    assert keeper.problem == "full"


async def test_connections_that_break_are_no_failure_of_the_place(keeper: Keeper, queue: FakeQueue) -> None:
    with pytest.raises(ConnectionError):
        await keeper._step(FakePart(ConnectionError("reset")))
    assert queue.notes == []
