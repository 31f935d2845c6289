"""What Redis makes of a run's realism: figures are kept, a figure that leaves its bounds is acted on once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from platolm.realism import FIGURES
from platolm.realism_limits import OutOfBounds
from platolm.runs import PausedBy, RunProgress, RunState
from platolm.spec import RunSpec
from services.orchestrator.metrics.survey import take_survey
from services.orchestrator.queue import Queue, RealismReport
from tests.integration.orchestrator.queueing import claim, finish, make_run, progress_of
from tests.redis_server import RedisServer

THIRD = 1 / 3
LATER = [PausedBy.ENGINES, PausedBy.WRITER]
"""Who pauses a run that goes on by itself."""

FOR_A_PERSON = [by for by in PausedBy if by not in LATER]


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        yield redis


def report(conversations: int, then: str = "pause", **judged: str) -> RealismReport:
    return RealismReport(conversations, {"rounds": THIRD, "repeats": 0.1 + 0.2}, judged, OutOfBounds(then))


async def tell(queue: Queue, told: RealismReport, *indices: int) -> RunProgress:
    await queue.commit("run-a", committed=told.conversations, indices=indices, realism=told)
    return await progress_of(queue)


async def test_figures_are_told_to_the_last_bit_wherever_a_run_is(redis: Redis, queue: Queue) -> None:
    await make_run(queue)
    assert (await progress_of(queue)).realism is None
    progress = await tell(queue, report(2, then="warn", repeats="too many", rounds=""))
    assert progress.realism is not None
    assert progress.realism.model_dump() == {
        "conversations": 2,
        "figures": {"rounds": THIRD, "repeats": 0.1 + 0.2},
        "out_of_bounds": {"repeats": "too many"},
    }
    assert (progress.state, progress.warnings) == (RunState.RUNNING, ["too many"])
    [summary] = await queue.summaries(["run-a"])
    assert summary["realism"] == progress.realism.model_dump()
    assert (await take_survey(redis, queue.key)).open_runs["run-a"].realism == progress.realism


async def test_what_was_said_at_submission_comes_first(queue: Queue) -> None:
    await queue.create_run(
        "run-a", RunSpec(conversations=4), idempotency_key="k", digest="d", created_at=0.0, warnings=["a seed is gone"]
    )
    assert (await tell(queue, report(2, repeats="too many"))).warnings == ["a seed is gone", "too many"]


async def test_a_commit_that_tells_nothing_changes_nothing(queue: Queue) -> None:
    await make_run(queue)
    before = (await tell(queue, report(2, repeats="too many"))).realism
    await queue.commit("run-a", committed=3, indices=[])
    assert (await progress_of(queue)).realism == before


async def test_a_figure_that_leaves_its_bounds_pauses_once(queue: Queue) -> None:
    await make_run(queue)
    paused = await tell(queue, report(1, repeats="too many", rounds="too few"))
    assert paused.pause is not None
    assert (paused.pause.by, paused.pause.reason) == (PausedBy.LIMIT, "too many; too few")
    await queue.resume("run-a")
    assert (await tell(queue, report(2, repeats="still too many", rounds="too few"))).state is RunState.RUNNING
    back = await tell(queue, report(3, repeats="", rounds="too few"))
    assert (back.state, back.warnings) == (RunState.RUNNING, ["too few"])
    again = await tell(queue, report(3, repeats="again too many", rounds="too few"))
    assert again.pause is not None
    assert again.pause.reason == "again too many"


async def test_a_figure_that_is_not_judged_stays_what_it_was(queue: Queue) -> None:
    await make_run(queue)
    await tell(queue, report(1, then="warn", repeats="too many"))
    assert (await tell(queue, report(2, then="warn"))).warnings == ["too many"]


async def test_who_knows_less_changes_nothing(queue: Queue) -> None:
    await make_run(queue)
    known = (await tell(queue, report(3, rounds=""))).realism
    late = await tell(queue, report(2, repeats="too many"))
    assert (late.state, late.realism) == (RunState.RUNNING, known)


@pytest.mark.parametrize("by", LATER)
async def test_a_run_that_would_go_on_by_itself_waits_for_a_person(queue: Queue, by: PausedBy) -> None:
    await make_run(queue)
    await queue.pause("run-a", by, "away")
    await tell(queue, report(1, repeats="too many"))
    assert await queue.resume("run-a", by) is RunState.PAUSED
    assert await queue.paused_by("run-a") is PausedBy.LIMIT
    assert await queue.resume("run-a") is RunState.RUNNING


@pytest.mark.parametrize("by", FOR_A_PERSON)
async def test_a_run_that_waits_for_a_person_keeps_its_reason(queue: Queue, by: PausedBy) -> None:
    await make_run(queue)
    await queue.pause("run-a", by, "first")
    progress = await tell(queue, report(1, repeats="too many"))
    assert progress.pause is not None
    assert (progress.pause.by, progress.pause.reason) == (by, "first")
    assert progress.warnings == ["too many"]
    await queue.resume("run-a")
    assert (await tell(queue, report(2, repeats="too many"))).state is RunState.RUNNING


async def test_a_run_is_cancelled_with_what_it_has(queue: Queue) -> None:
    await make_run(queue, conversations=5)
    done, waiting, in_flight = await claim(queue, 3)
    await finish(queue, done, 0)
    await finish(queue, waiting, 0)
    cancelling = await tell(queue, report(1, then="cancel", repeats="too many"), done.index)
    assert (cancelling.state, cancelling.warnings) == (RunState.CANCELLING, ["too many"])
    assert not await queue.is_queued(in_flight.conversation_id)
    over = await tell(queue, report(2, then="cancel", repeats="too many"), waiting.index)
    assert (over.state, over.committed, over.cancelled) == (RunState.CANCELLED, 2, 3)


@pytest.mark.parametrize("then", list(OutOfBounds))
async def test_a_run_whose_last_conversation_is_written_is_complete(queue: Queue, then: OutOfBounds) -> None:
    await make_run(queue, conversations=1)
    [owned] = await claim(queue, 1)
    await finish(queue, owned, 0)
    progress = await tell(queue, report(1, then=then, repeats="too many"), owned.index)
    assert (progress.state, progress.pause, progress.warnings) == (RunState.COMPLETED, None, ["too many"])


async def test_a_run_that_does_not_exist_is_not_made_by_telling(redis: Redis, queue: Queue) -> None:
    assert await queue.commit("run-x", committed=1, indices=[], realism=report(1, repeats="too many")) is None
    assert await redis.exists(queue.key("run", "run-x")) == 0


async def test_memory_does_not_grow_with_conversations(redis: Redis, queue: Queue) -> None:
    await make_run(queue)
    wrong = {figure: f"{figure} is out of bounds" for figure in FIGURES}

    async def size_after(reports: range) -> int | None:
        for number in reports:
            told = RealismReport(10**6 + number, dict.fromkeys(FIGURES, THIRD), wrong, OutOfBounds.WARN)
            await queue.commit("run-a", committed=0, indices=[], realism=told)
        return await redis.memory_usage(queue.key("run", "run-a"))

    size = await size_after(range(100, 110))
    assert size is not None
    assert size < 16_384
    assert await size_after(range(110, 400)) == size


# any order of what writers, people and engines do


@dataclass
class Model:
    """What a run comes to, as its documentation tells it."""

    state: RunState = RunState.RUNNING
    by: PausedBy | None = None
    measured: int = 0
    outside: dict[str, str] = field(default_factory=dict)

    def tell(self, conversations: int, judged: dict[str, str], then: OutOfBounds) -> None:
        if conversations < self.measured:
            return
        self.measured = conversations
        left = [figure for figure, wrong in judged.items() if wrong and figure not in self.outside]
        for figure, wrong in judged.items():
            if wrong:
                self.outside.setdefault(figure, wrong)
            else:
                self.outside.pop(figure, None)
        if not left or then is OutOfBounds.WARN or self.state is RunState.CANCELLED:
            return
        if then is OutOfBounds.CANCEL:
            self.state, self.by = RunState.CANCELLED, None
        elif self.state is RunState.RUNNING or self.by in LATER:
            self.state, self.by = RunState.PAUSED, PausedBy.LIMIT

    def pause(self, by: PausedBy) -> None:
        if self.state is RunState.RUNNING or (self.state is RunState.PAUSED and by is PausedBy.USER):
            self.state, self.by = RunState.PAUSED, by

    def resume(self, by: PausedBy | None) -> None:
        if self.state is RunState.PAUSED and by in (None, self.by):
            self.state, self.by = RunState.RUNNING, None


VERDICTS = st.dictionaries(st.sampled_from(["rounds", "repeats", "mtld"]), st.sampled_from(["", "wrong", "very wrong"]))
TELL = st.tuples(
    st.just("tell"), st.integers(-2, 3), VERDICTS, st.sampled_from([*[OutOfBounds.PAUSE] * 4, *OutOfBounds])
)
PAUSE = st.tuples(st.just("pause"), st.sampled_from(PausedBy))
RESUME = st.tuples(st.just("resume"), st.none() | st.sampled_from(PausedBy))


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(events=st.lists(st.one_of(TELL, TELL, PAUSE, RESUME), max_size=20))
def test_in_any_order_a_run_comes_to_what_is_documented(
    events: list[tuple[object, ...]], redis_server: RedisServer, runner: asyncio.Runner
) -> None:
    runner.run(follow(redis_server.url, events))


async def follow(url: str, events: list[tuple[object, ...]]) -> None:
    """Let everything happen to a run and to its model; compare them after each step."""
    async with Redis.from_url(url, decode_responses=True) as redis:
        await redis.flushall()
        queue, model = Queue(redis), Model()
        await make_run(queue, conversations=3)
        for event in events:
            match event:
                case ("tell", int(more), dict(judged), OutOfBounds() as then):
                    conversations = max(1, model.measured + more)
                    model.tell(conversations, judged, then)
                    told = RealismReport(conversations, {}, judged, then)
                    await queue.commit("run-a", committed=0, indices=[], realism=told)
                case ("pause", PausedBy() as by):
                    model.pause(by)
                    await queue.pause("run-a", by, "a reason")
                case ("resume", None | PausedBy() as who):
                    model.resume(who)
                    await queue.resume("run-a", who)
            progress = await progress_of(queue)
            by_whom = progress.pause.by if progress.pause is not None else None
            assert (progress.state, by_whom) == (model.state, model.by)
            assert (progress.realism.out_of_bounds if progress.realism is not None else {}) == model.outside
        await queue.close()
