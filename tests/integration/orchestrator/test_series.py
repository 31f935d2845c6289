"""Workers' reports and the samples made of them: real Redis, then API and workers as processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import cast

import httpx
import pytest
import redis
from redis.asyncio import Redis

from platolm.series_api import MAX_SAMPLES, RunSample, Sample, Series
from platolm.spec import Limits, Retries
from services.orchestrator.queue import Outcome, Queue, open_redis
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from services.orchestrator.queue.reports import ReplicaReport, SideTotals, WorkerReport
from services.orchestrator.redis_settings import RedisSettings
from services.orchestrator.series.moment import Moment, read_moment
from services.orchestrator.series.sampler import Sampler
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.queueing import LEASE_MS, append, claim, finish, make_run
from tests.integration.orchestrator.small_stack import SmallStack, Workers
from tests.redis_server import RedisServer

ENGINE = ReplicaReport("respondent", "http://e1:8000/v1", True, 4096, 3, 2, 0.25, 1.5)


def report(tokens: int = 0) -> WorkerReport:
    return WorkerReport({"simulator": SideTotals(), "respondent": SideTotals(1, tokens, 40, 8, 16)}, [ENGINE])


@pytest.fixture
async def client(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with open_redis(RedisSettings(redis_url=redis_server.url)) as client:
        yield client


async def reporters(client: Redis, queue: Queue) -> set[str]:
    """Workers that Redis holds a report of, however old."""
    return set(cast("list[str]", await client.hkeys(queue.key("reports"))))


# what is read at one moment


async def test_an_empty_redis(client: Redis, queue: Queue) -> None:
    found = await read_moment(client, queue.key, ["run-a"])
    assert found == Moment(found.at, 0, frozenset(), {}, {})
    assert abs(found.at - time.time()) < 5


async def test_each_conversation_is_counted_where_it_is(client: Redis, queue: Queue) -> None:
    await make_run(queue, conversations=8, retries=Retries(attempts=1), limits=Limits(dead=None))
    done, waiting, lost, spoken, _silent = await claim(queue, 5)
    await make_run(queue, "run-b")
    for owned in (done, waiting):
        assert await finish(queue, owned, 0) is Outcome.OK
    await queue.commit("run-a", committed=1, indices=[done.index])
    assert await queue.fail(lost.conversation_id, lost.token, "broken") is Outcome.DEAD
    await append(queue, spoken, 0, generated_tokens=30)
    await append(queue, spoken, 1, generated_tokens=12)
    found = await read_moment(client, queue.key, ["run-a", "run-b", "run-c"])
    assert found.workers == 1
    assert found.open_runs == {"run-a", "run-b"}
    assert found.runs == {
        "run-a": RunSample(
            in_flight=2, queued=3, finished=2, committed=1, dead=1, utterances=2, generated_tokens=42
        ),
        "run-b": RunSample(0, 4, 0, 0, 0, 0, 0),
    }  # fmt: skip


async def test_a_run_that_is_over_is_read_as_it_ended(client: Redis, queue: Queue) -> None:
    await make_run(queue, conversations=2)
    await queue.cancel("run-a")
    found = await read_moment(client, queue.key, ["run-a"])
    assert (found.open_runs, found.runs) == (frozenset(), {"run-a": RunSample(0, 0, 0, 0, 0, 0, 0)})


async def test_many_runs_take_one_round_trip(client: Redis, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    run_ids = [f"run-{number:02d}" for number in range(30)]
    for run_id in run_ids:
        await make_run(queue, run_id, conversations=1)
    sent: list[bool] = []
    pipeline = client.pipeline

    def counted(*, transaction: bool) -> object:
        sent.append(transaction)
        return pipeline(transaction=transaction)

    monkeypatch.setattr(client, "pipeline", counted)
    assert sorted((await read_moment(client, queue.key, run_ids)).runs) == run_ids
    assert sent == [True], "one, of one instant"


# reports


async def test_a_report_carries_the_time_of_redis(client: Redis, queue: Queue) -> None:
    await queue.register("w1", lease_ms=LEASE_MS)
    before = (await read_moment(client, queue.key, [])).at
    await queue.report("w1", report(tokens=7))
    found = await read_moment(client, queue.key, [])
    assert {worker: stamped.report for worker, stamped in found.reports.items()} == {"w1": report(tokens=7)}
    assert before <= found.reports["w1"].at <= found.at


async def test_a_report_ends_with_its_worker(client: Redis, queue: Queue) -> None:
    for worker in ("leaves", "stays"):
        await queue.register(worker, lease_ms=LEASE_MS)
        await queue.report(worker, report())
    await queue.unregister("leaves")
    assert await reporters(client, queue) == {"stays"}
    await queue.report("leaves", report())  # on its way while the worker left
    assert await reporters(client, queue) == {"stays"}


async def test_a_dead_workers_report_goes_when_its_claims_do(client: Redis, queue: Queue) -> None:
    await make_run(queue, conversations=1)
    await claim(queue, 1, "dying")
    await queue.report("dying", report())
    await queue.register("dying", lease_ms=1)
    await queue.register("alive", lease_ms=500)
    async with asyncio.timeout(10):
        while not await queue.reclaim("alive", lease_ms=500):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    assert await reporters(client, queue) == set()
    await queue.report("dying", report())  # it is alive after all, and does not know yet that it lost everything
    assert await reporters(client, queue) == set()


# samples


async def test_samples_are_missing_while_redis_is_away(client: Redis, queue: Queue, redis_server: RedisServer) -> None:
    news = asyncio.Event()

    def publish(_sample: Sample) -> None:
        news.set()

    async def next_sample() -> None:
        news.clear()
        await news.wait()

    await make_run(queue)
    async with asyncio.timeout(60), Sampler(client, queue.key, publish, every_s=0.02) as sampler:
        await next_sample()
        await next_sample()
        redis_server.kill()
        news.clear()
        known = len(sampler.series().samples)
        redis_server.start()
        await next_sample()
    samples = sampler.series().samples
    assert len(samples) > known >= 2
    assert samples[-1].runs == samples[known - 1].runs == {"run-a": RunSample(0, 4, 0, 0, 0, 0, 0)}


# API and workers


def series(stack: SmallStack, **query: str | float) -> Series:
    response = httpx.get(f"{stack.api.url}/v1/series", params=query, timeout=30).raise_for_status()
    return Series.model_validate_json(response.content)


def wait_sample(stack: SmallStack, holds: Callable[[Sample], bool], what: str, *, since: float = 0.0) -> Sample:
    """The first sample after a time of which it holds."""
    found: list[Sample] = []

    def came() -> bool:
        found[:] = [sample for sample in series(stack, since=since).samples if holds(sample)]
        return bool(found)

    wait_until(came, what=what)
    return found[0]


@pytest.mark.slow
def test_a_run_in_samples(stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine) -> None:
    """Two workers watch the same engines: each of these counts once, each worker's utterances do."""
    simulator.latency_s = respondent.latency_s = 0.2
    simulator.kv_used, respondent.kv_used = 0.25, 0.75
    for _ in range(2):
        workers.start([simulator], [respondent], hang_after_s=20)  # looked at every 5 s
    started = wait_sample(stack, lambda sample: sample.workers == 2, "two workers").time
    simulator.is_hung = True
    run_id = stack.submit(24, endings={"max_turns": 24})
    stuck = wait_sample(stack, lambda one: one.sides.simulator.running == 24, "24 requests seen", since=started)
    assert (stuck.sides.simulator.kv_used, stuck.sides.respondent.kv_used) == (0.25, 0.75)
    assert (stuck.sides.simulator.waiting, stuck.sides.respondent.running) == (0, 0)
    assert stuck.runs[run_id].in_flight == 24
    simulator.is_hung = False
    moving = wait_sample(
        stack, lambda one: bool(one.sides.respondent.utterances_per_s), "a rate of utterances", since=stuck.time
    )
    assert moving.sides.respondent.tokens_per_s
    progress = stack.api.wait_completed(run_id)
    last = wait_sample(stack, lambda one: one.runs[run_id].committed == 24 if run_id in one.runs else False, "the end")
    counted = last.runs[run_id]
    assert counted == RunSample(0, 0, 24, 24, 0, progress["utterances"], progress["generated_tokens"])
    idle = wait_sample(
        stack, lambda one: one.sides.respondent.tokens_per_s == 0 and run_id not in one.runs, "nothing", since=last.time
    )
    check_whole(stack, run_id, since=started, until=idle.time)


def check_whole(stack: SmallStack, run_id: str, *, since: float, until: float) -> None:
    """No engine counts twice in any sample, and all that was said is in the rates, once."""
    samples = [one for one in series(stack, since=since, run_id=run_id).samples if one.time <= until]
    assert {run for one in samples for run in one.runs} == {run_id}
    assert max(one.sides.simulator.running or 0 for one in samples) == 24
    said = sum((one.sides.simulator.utterances_per_s or 0.0) * 2 for one in samples)
    assert said == pytest.approx(24 * 12, rel=0.25), "the beats of samples and reports differ a little"


@pytest.mark.slow
def test_series_go_on_when_redis_comes_back(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    workers.start([simulator], [respondent])

    def told_since(moment: float) -> Sample:
        """The worker has reported twice since then, or once more."""
        return wait_sample(
            stack, lambda one: one.workers == 1 and one.sides.simulator.tokens_per_s == 0, "reports", since=moment
        )

    before = told_since(time.time())
    stack.redis.kill()
    away_at = time.time()
    stack.redis.start()
    back_at = time.time()
    wait_until(lambda: reported_at(stack) > back_at, what="a report")
    told_since(reported_at(stack))
    samples = series(stack, since=before.time - 0.001).samples
    assert samples[0] == before
    assert not [one for one in samples if away_at < one.time < back_at]
    kept = [one.time for one in series(stack).samples]
    assert before.time in kept
    assert len(kept) <= MAX_SAMPLES


def reported_at(stack: SmallStack) -> float:
    """When the only worker reported last."""
    with redis.Redis.from_url(stack.redis.url, decode_responses=True) as client:
        [stamped] = cast("list[str]", client.hvals(DEFAULT_PREFIX + KEYS["reports"]))
    return int(stamped.partition(" ")[0]) / 1e6


def test_live_events_carry_the_same_samples(stack: SmallStack) -> None:
    with httpx.stream("GET", f"{stack.api.url}/v1/live?turns=false", timeout=30) as response:
        lines = response.iter_lines()
        assert "event: sample" in lines
        sample = Sample.model_validate_json(next(lines).removeprefix("data: "))
    assert sample in series(stack).samples


def test_what_is_asked_for_wrongly(stack: SmallStack) -> None:
    for query in ("since=-1", "since=nan", "since=inf", "since=yesterday", "run_id=A%20run"):
        assert httpx.get(f"{stack.api.url}/v1/series?{query}", timeout=30).status_code == 422, query
    assert series(stack, since=1e12) == Series(samples=[])
