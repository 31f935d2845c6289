"""A user who does not sound like one: runs that warn, pause, are resumed or cancelled, whatever is killed meanwhile."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from platolm.conversation import from_sharegpt
from platolm.dataset import iter_manifest, read_records
from platolm.realism import Realism
from platolm.runs import PausedBy, RunProgress, RunState
from platolm.spec import RunSpec, Seed
from services.orchestrator.datasets.run_place import RunPlace, RunPlaces
from services.orchestrator.queue import Queue
from services.orchestrator.queue.realism import REALISM_FIELDS
from tests.browsed_dataset import said
from tests.browser.speaking import SpeakingEngine
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import Process, wait_until, writer_process
from tests.integration.orchestrator.queueing import claim, finish, progress_of
from tests.integration.orchestrator.whole_runs import Orchestrator
from tests.redis_server import RedisServer

SLIPS = ("As an AI language model, I cannot say.", "I hope this helps! Goodbye.")
QUESTIONS = ("how do boats float on the river", "why is the soup too cold", "what grows in a winter garden")

LATENCY_S = 0.05
"""Of an utterance: without any, a run would be over before its first segment is written."""

Progress = dict[str, Any]
Begin = Callable[..., tuple[str, Progress]]

WRITER_CRASH_POINTS = [
    "writer.before_segment", "writer.segment_written", "writer.segment_renamed", "writer.manifest_linked",
    "writer.before_commit", "writer.after_commit",
]  # fmt: skip


def measured(folder: Path) -> Realism:
    """The same measures over the dataset, made anew."""
    realism = Realism()
    for record in read_records(folder):
        realism.add(from_sharegpt(record).messages)
    return realism


# with engines, workers and the API


@pytest.fixture
def simulator(byte_tokenizer_folder: Path) -> Iterator[SpeakingEngine]:
    engine = SpeakingEngine(byte_tokenizer_folder, "socratic", phrases=SLIPS)
    with engine.running():
        yield engine


@pytest.fixture
def begin(orchestrator: Orchestrator, simulator: SpeakingEngine, respondent: FakeEngine) -> Begin:
    """A run that stops where more than half of the user's utterances are slips; its id, and its progress then."""
    simulator.latency_s = respondent.latency_s = LATENCY_S
    orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=8)

    def begin(then: str, until: Callable[[Progress], bool], conversations: int = 48) -> tuple[str, Progress]:
        realism = {"role_slips": {"at_most": 0.5}, "rounds": {"at_least": 1}, "after": 8, "then": then}
        run_id = orchestrator.submit(
            conversations,
            endings={"max_turns": 4, "repetition": False, "context_tokens": 1024},
            limits={"realism": realism},
            output={"segment_records": 4},
        )
        wait_until(lambda: until(orchestrator.api.run(run_id)), what=f"a run that is to {then}")
        return run_id, orchestrator.api.run(run_id)

    return begin


def check_measured(orchestrator: Orchestrator, run_id: str, conversations: int) -> Progress:
    """Every conversation is there once, and the figures are the dataset's; gives the run's progress."""
    progress = orchestrator.api.run(run_id)
    records = orchestrator.api.dataset(run_id)
    assert len(records) == len({record["index"] for record in records}) == conversations
    expected = measured(orchestrator.data_dir / "runs" / run_id)
    assert progress["realism"]["figures"] == pytest.approx(expected.figures(), rel=1e-12)
    assert progress["realism"]["conversations"] == expected.conversations == conversations
    return progress


def test_a_run_that_warns_goes_on(orchestrator: Orchestrator, begin: Begin) -> None:
    run_id, progress = begin("warn", lambda run: run["state"] == "completed")
    check_measured(orchestrator, run_id, 48)
    assert list(progress["realism"]["out_of_bounds"]) == ["role_slips"]
    [warning] = progress["warnings"]
    assert warning == progress["realism"]["out_of_bounds"]["role_slips"]
    assert warning.startswith("role_slips 1 is above 0.5 (limits.realism.role_slips.at_most) over ")


def test_a_run_that_pauses_is_resumed_once_and_ends_with_all_its_conversations(
    orchestrator: Orchestrator, begin: Begin, simulator: SpeakingEngine
) -> None:
    run_id, progress = begin("pause", lambda run: run["state"] == "paused")
    assert progress["pause"] == {"by": "limit", "reason": progress["warnings"][0]}
    for process in (orchestrator.writer, orchestrator.api_process):  # neither is what remembers
        process.kill()
        process.start()
    assert orchestrator.api.run(run_id)["pause"] == progress["pause"]
    orchestrator.api.act(run_id, "resume")
    orchestrator.api.wait_completed(run_id)  # and is not paused again, though every utterance is a slip
    assert check_measured(orchestrator, run_id, 48)["warnings"] == progress["warnings"]


def test_a_figure_that_comes_back_is_judged_again(
    orchestrator: Orchestrator, begin: Begin, simulator: SpeakingEngine
) -> None:
    run_id, _ = begin("pause", lambda run: run["state"] == "paused", 400)
    simulator.phrases = QUESTIONS
    orchestrator.api.act(run_id, "resume")
    wait_until(lambda: not orchestrator.api.run(run_id)["warnings"], what="the figure is within its bounds")
    simulator.phrases = SLIPS
    wait_until(lambda: orchestrator.api.run(run_id)["state"] == "paused", what="another pause")
    again = orchestrator.api.run(run_id)
    assert (again["pause"]["by"], again["warnings"]) == ("limit", [again["pause"]["reason"]])
    orchestrator.api.act(run_id, "resume")
    orchestrator.api.wait_completed(run_id)
    check_measured(orchestrator, run_id, 400)


def test_a_run_that_is_cancelled_keeps_what_is_finished(orchestrator: Orchestrator, begin: Begin) -> None:
    run_id, progress = begin("cancel", lambda run: run["state"] == "cancelled", 400)
    assert 0 < progress["cancelled"] < 400
    assert progress["committed"] + progress["cancelled"] == 400
    check_measured(orchestrator, run_id, progress["committed"])


# writers that are killed, and two at a time


SEGMENT = 16


class Repeating:
    """A run whose user says the same again and again, worked on as a worker does."""

    def __init__(self, folder: Path, queue: Queue) -> None:
        self.queue = queue
        self.num_pauses = 0
        self._places = RunPlaces(folder / "data")

    async def submit(self, conversations: int) -> RunPlace:
        realism = {"repeats": {"at_most": 0.25}, "after": SEGMENT + 1, "then": "pause"}
        spec = RunSpec.model_validate(
            {"conversations": conversations, "limits": {"realism": realism}, "output": {"segment_records": SEGMENT}}
        )
        place = self._places.of("run-a", spec)
        place.create(spec, list[Seed]())
        await self.queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=time.time(), warnings=[])
        return place

    async def step(self, most: int = 8) -> RunProgress:
        """Finish some of what waits, and resume where that paused."""
        for owned in await claim(self.queue, most):
            record = said(owned.index, "tell me a story", "no", "tell me a story", f"no {owned.index}")
            await finish(self.queue, owned, 0, record=json.dumps(record))
        progress = await progress_of(self.queue)
        if progress.pause is not None:
            assert progress.pause.by is PausedBy.LIMIT
            assert progress.pause.reason.startswith("repeats 0.5 is above 0.25 ")
            self.num_pauses += 1
            await self.queue.resume("run-a")
        await asyncio.sleep(0.01)
        return progress

    async def completed(self) -> RunProgress:
        deadline = time.monotonic() + 60
        while (progress := await self.step()).state is not RunState.COMPLETED:
            assert time.monotonic() < deadline, progress
        return progress


@pytest.fixture
async def run(tmp_path: Path, queue: Queue) -> AsyncIterator[Repeating]:
    yield Repeating(tmp_path, queue)
    await queue.close()


@pytest.fixture
def start(tmp_path: Path, redis_server: RedisServer) -> Iterator[Callable[..., Process]]:
    with ExitStack() as writers:

        def start(name: str = "writer", **settings: object) -> Process:
            settings = {"segment_age_s": 3600, "poll_interval_s": 0.02, "feed_window": SEGMENT, **settings}
            process = writer_process(tmp_path, redis_server.url, name=name, **settings)
            writers.callback(process.end)
            return process.start()

        yield start


def check_told(progress: RunProgress, place: RunPlace, folder: Path) -> None:
    """What Redis was told is what the dataset holds."""
    assert progress.realism is not None
    whole = measured(folder / "data" / "runs" / "run-a")
    assert sorted(record["index"] for record in read_records(place.place)) == list(range(whole.conversations))
    assert (progress.realism.conversations, progress.realism.figures) == (whole.conversations, whole.figures())


@pytest.mark.parametrize("point", WRITER_CRASH_POINTS)
async def test_a_kill_between_any_two_steps_pauses_once(
    point: str, run: Repeating, start: Callable[..., Process], tmp_path: Path
) -> None:
    """At the second segment, which is the one that is judged."""
    place = await run.submit(60)
    dying = start(crash_at=f"{point}:2")
    assert dying.popen is not None
    while dying.popen.poll() is None:
        await run.step()
    assert dying.popen.returncode == -signal.SIGKILL
    start()
    progress = await run.completed()
    check_told(progress, place, tmp_path)
    assert (progress.committed, run.num_pauses) == (60, 1)


async def test_two_writers_pause_once(run: Repeating, start: Callable[..., Process], tmp_path: Path) -> None:
    for name in ("one", "two"):
        start(name)
    place = await run.submit(150)
    check_told(await run.completed(), place, tmp_path)
    assert run.num_pauses == 1


async def test_segments_of_before_there_were_measures_are_not_counted(
    run: Repeating, start: Callable[..., Process], tmp_path: Path, redis_server: RedisServer
) -> None:
    """A run that was begun under an older release, and goes on under this one."""
    place = await run.submit(60)
    first = start()
    while (await run.step()).committed < SEGMENT:
        pass
    first.kill()
    entries = list(iter_manifest(place.place))
    for entry in entries:
        path = tmp_path / "data" / "runs" / "run-a" / "manifest" / f"{entry.number:08d}.json"
        path.write_text(entry.model_dump_json(exclude={"summary": {"realism"}}), encoding="utf-8")
    old = sum(len(entry.indices) for entry in entries)
    async with Redis.from_url(redis_server.url) as redis:
        await redis.hdel(run.queue.key("run", "run-a"), "measured", *REALISM_FIELDS)
    start()
    progress = await run.completed()
    assert progress.realism is not None
    assert (progress.committed, progress.realism.conversations) == (60, 60 - old)
    assert progress.realism.figures["repeats"] == 0.5
