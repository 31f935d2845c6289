"""The dataset writer as a process: nothing lost, nothing twice, whatever ends it or its place."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from platolm.dataset import read_manifest, read_records
from platolm.runs import PausedBy, RunProgress, RunState
from platolm.spec import Output, OutputFormat, RunSpec, Seed, SeedMode
from services.orchestrator.datasets.run_place import RunPlace, RunPlaces
from services.orchestrator.queue import Queue, redis_patiently
from tests.conversation_records import record_json
from tests.integration.orchestrator.processes import Process, writer_process
from tests.integration.orchestrator.queueing import claim, finish
from tests.object_store import object_store
from tests.redis_server import RedisServer

CRASH_POINTS = [
    "writer.before_segment", "writer.segment_written", "writer.segment_renamed", "writer.manifest_linked",
    "writer.before_commit", "writer.after_commit", "feeder.before_feed", "feeder.after_feed",
]  # fmt: skip
FAST = {"segment_age_s": 0.1, "poll_interval_s": 0.02}
SEEDS = [Seed(question=f"q{number}") for number in range(7)]


class Runs:
    """Submits runs and works on them, as the API and a worker do."""

    def __init__(self, folder: Path, queue: Queue) -> None:
        self.queue = queue
        self.folder = folder
        self._places = RunPlaces(folder / "data", ["s3://datasets"])

    async def submit(self, run_id: str, conversations: int, **output: Any) -> RunPlace:
        spec = RunSpec(conversations=conversations, seed_mode=SeedMode.QUESTION, output=Output(**output))
        place = self._places.of(run_id, spec)
        place.create(spec, SEEDS)
        await self.queue.create_run(
            run_id, spec, idempotency_key=run_id, digest="d", created_at=time.time(), warnings=[]
        )
        return place

    async def work(self, *, most: int = 10**9) -> int:
        """Finish up to `most` of what waits; gives how many."""
        done = 0
        while done < most and (claims := await claim(self.queue, min(64, most - done))):
            for owned in claims:
                assert Seed.model_validate_json(owned.seed).question == f"q{owned.index % len(SEEDS)}"
                await finish(self.queue, owned, 0, record=record_json(owned.index, owned.run_id))
            done += len(claims)
        return done

    async def progress(self, run_id: str) -> RunProgress:
        progress = await self.queue.progress(run_id)
        assert progress is not None
        return progress

    async def until(self, run_id: str, condition: Callable[[RunProgress], bool], *, work: bool = True) -> RunProgress:
        """Work until a run's progress is as wanted."""
        deadline = time.monotonic() + 60
        while not condition(progress := await self.progress(run_id)):
            assert time.monotonic() < deadline, progress
            if not (work and await self.work()):
                await asyncio.sleep(0.02)
        return progress

    async def completed(self, *run_ids: str) -> None:
        for run_id in run_ids:
            await self.until(run_id, lambda progress: progress.state is RunState.COMPLETED)


@pytest.fixture
async def runs(tmp_path: Path, queue: Queue) -> AsyncIterator[Runs]:
    yield Runs(tmp_path, queue)
    await queue.close()


@pytest.fixture
def writers() -> Iterator[ExitStack]:
    """Ends the writers that a test started."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def start(tmp_path: Path, redis_server: RedisServer, writers: ExitStack) -> Callable[..., Process]:
    def start(name: str = "writer", env: dict[str, str] | None = None, **settings: object) -> Process:
        process = writer_process(tmp_path, redis_server.url, name=name, **{**FAST, **settings})
        process.env.update(env or {})
        writers.callback(process.end)
        return process.start()

    return start


def indices(place: RunPlace) -> list[int]:
    return [record["index"] for record in read_records(place.place)]


@pytest.mark.parametrize("form", list(OutputFormat))
async def test_runs_are_fed_and_written(form: OutputFormat, runs: Runs, start: Callable[..., Process]) -> None:
    writer = start(feed_window=64)
    places = [await runs.submit(f"run-{name}", 200, format=form, segment_records=32) for name in "ab"]
    await runs.completed("run-a", "run-b")
    for place in places:
        assert sorted(indices(place)) == list(range(200))
        assert max(len(entry.indices) for entry in read_manifest(place.place)) <= 32
    assert await runs.queue.num_finished_waiting("run-a") == 0
    async with httpx.AsyncClient() as client:
        metrics = await client.get(writer.ready_url.replace("readyz", "metrics"))
    assert "platolm_writer_records_total 400.0" in metrics.text
    assert writer.send(signal.SIGTERM) == 0


@pytest.mark.parametrize("point", CRASH_POINTS)
async def test_a_kill_between_any_two_steps(point: str, runs: Runs, start: Callable[..., Process]) -> None:
    place = await runs.submit("run-a", 60, segment_records=16)
    dying = start(crash_at=f"{point}:2", feed_window=16)
    assert dying.popen is not None
    while dying.popen.poll() is None:
        await runs.work(most=8)
        await asyncio.sleep(0.02)
    assert dying.popen.returncode == -signal.SIGKILL
    start(feed_window=16)
    await runs.completed("run-a")
    assert sorted(indices(place)) == list(range(60))
    assert (await runs.progress("run-a")).finished == 60


async def test_two_writers_on_the_same_runs(runs: Runs, start: Callable[..., Process]) -> None:
    for name in ("one", "two"):
        start(name, feed_window=32)
    places = [await runs.submit(f"run-{name}", 150, segment_records=8) for name in "ab"]
    await runs.completed("run-a", "run-b")
    for place in places:
        assert sorted(indices(place)) == list(range(150))


async def test_a_place_that_goes_away_pauses_its_run_alone(
    runs: Runs, start: Callable[..., Process], tmp_path: Path
) -> None:
    start(feed_window=16)
    place, other = await runs.submit("run-a", 100), await runs.submit("run-b", 100)
    await runs.until("run-a", lambda progress: progress.committed >= 16)
    folder, away = tmp_path / "data" / "runs" / "run-a", tmp_path / "away"
    folder.rename(away)
    paused = await runs.until("run-a", lambda progress: progress.state is RunState.PAUSED)
    assert paused.pause is not None
    assert paused.pause.by is PausedBy.WRITER
    assert "No such file or directory" in paused.pause.reason
    await runs.completed("run-b")
    assert not folder.exists()
    away.rename(folder)
    await runs.completed("run-a")
    assert sorted(indices(place)) == sorted(indices(other)) == list(range(100))


def small_disk(folder: Path, afterwards: ExitStack) -> Path:
    """A file system of one MiB at a folder."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("a small file system cannot be mounted here: that takes root")
    afterwards.callback(subprocess.run, ["umount", "-l", str(folder)], check=True)
    return folder


def fill(path: Path) -> None:
    """Write until there is no room."""
    with contextlib.suppress(OSError), path.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


async def test_a_full_disk_pauses_the_run_until_there_is_room(
    runs: Runs, start: Callable[..., Process], tmp_path: Path, writers: ExitStack
) -> None:
    disk = small_disk(tmp_path / "data", writers)
    place = await runs.submit("run-a", 100, segment_records=10)
    start(feed_window=16)
    await runs.until("run-a", lambda progress: progress.committed >= 10)
    fill(disk / "ballast")
    paused = await runs.until("run-a", lambda progress: progress.state is RunState.PAUSED)
    assert paused.pause is not None
    assert "No space left on device" in paused.pause.reason
    (disk / "ballast").unlink()
    await runs.completed("run-a")
    assert sorted(indices(place)) == list(range(100))


async def test_a_writer_that_comes_later_lifts_the_pause_of_one_that_is_gone(
    runs: Runs, start: Callable[..., Process]
) -> None:
    await runs.submit("run-a", 10)
    await runs.queue.pause("run-a", PausedBy.WRITER, "the disk was full")
    start()
    await runs.completed("run-a")


async def test_a_pause_of_a_person_stays(runs: Runs, start: Callable[..., Process]) -> None:
    start()
    await runs.submit("run-a", 10)
    await runs.queue.pause("run-a", PausedBy.USER, "asked for")
    await runs.submit("run-b", 10)
    await runs.completed("run-b")
    await asyncio.sleep(1.2)  # longer than the writer goes without looking at a run's state
    assert (await runs.progress("run-a")).state is RunState.PAUSED


async def test_what_was_finished_before_a_cancellation_is_written(runs: Runs, start: Callable[..., Process]) -> None:
    first = start("first", segment_age_s=3600, feed_window=20)
    place = await runs.submit("run-a", 100)
    await runs.until("run-a", lambda progress: progress.fed >= 20, work=False)
    assert await runs.work(most=12) == 12
    first.kill()
    assert await runs.queue.cancel("run-a") is RunState.CANCELLING
    start(segment_age_s=3600)
    progress = await runs.until("run-a", lambda progress: progress.state is RunState.CANCELLED)
    assert (progress.committed, progress.cancelled) == (12, 88)
    assert len(indices(place)) == 12


async def test_redis_is_told_again_what_it_forgot(
    runs: Runs, start: Callable[..., Process], redis_server: RedisServer
) -> None:
    """Redis comes back older than the dataset: with a cursor, counts and no records from before the last commits."""
    first = start(feed_window=20)
    place = await runs.submit("run-a", 40)
    await runs.until("run-a", lambda progress: progress.fed >= 20, work=False)
    await runs.work(most=20)
    await runs.until("run-a", lambda progress: progress.committed == 20, work=False)
    first.kill()
    async with Redis.from_url(redis_server.url) as redis:
        await redis.hset(runs.queue.key("run", "run-a"), mapping={"cursor": "0", "committed": "0", "finished": "0"})
        await redis.xtrim(runs.queue.key("stream", "run-a"), maxlen=0)
    start(feed_window=20)
    await runs.completed("run-a")
    assert sorted(indices(place)) == list(range(40))
    assert (await runs.progress("run-a")).committed == 40


async def test_redis_restarts_while_a_run_is_written(
    runs: Runs, start: Callable[..., Process], redis_server: RedisServer
) -> None:
    start(feed_window=32)
    place = await runs.submit("run-a", 100, segment_records=10)
    await runs.until("run-a", lambda progress: progress.committed >= 10)
    redis_server.stop()
    await asyncio.to_thread(redis_server.start)
    await redis_patiently(runs.queue.ping)
    await runs.completed("run-a")
    assert sorted(indices(place)) == list(range(100))


async def test_a_run_in_a_bucket(
    runs: Runs, start: Callable[..., Process], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with object_store(tmp_path / "store.log") as store:
        store.make_bucket("datasets")
        for name, value in store.env.items():
            monkeypatch.setenv(name, value)
        start(env=store.env, allowed_outputs="s3://datasets", feed_window=32)
        place = await runs.submit("run-a", 100, url="s3://datasets/ours", segment_records=16)
        await runs.completed("run-a")
        assert sorted(indices(place)) == list(range(100))
        assert not list((tmp_path / "data").glob("runs/*"))
