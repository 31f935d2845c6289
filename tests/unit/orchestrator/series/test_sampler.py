"""The sampler between a Redis that tests script and those who look."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError
from structlog.testing import capture_logs

from platolm.series_api import MAX_RUNS_SAMPLED, RunSample, Sample, Series, Sides, SideSample
from services.orchestrator.queue.reports import SideTotals
from services.orchestrator.series import sampler
from services.orchestrator.series.moment import Moment
from services.orchestrator.series.sampler import Sampler
from tests.unit.orchestrator.series.reported import replica, stamped

AWAY = RedisConnectionError("away")


def run(in_flight: int = 1, queued: int = 4, utterances: int = 7) -> RunSample:
    return RunSample(in_flight, queued, 3, 2, 1, utterances, 90)


def moment(at: float, runs: Mapping[str, RunSample] | None = None, opened: Sequence[str] = ("run-a",)) -> Moment:
    return Moment(at, 1, frozenset(opened), runs or {}, {})


@dataclass
class Script:
    """What the coming reads give; after the last one, Redis says nothing more."""

    coming: list[Moment | Exception]
    asked: list[list[str]] = field(default_factory=list)
    over: asyncio.Event = field(default_factory=asyncio.Event)

    async def read(self, _redis: Redis, _key: Callable[..., str], run_ids: Sequence[str]) -> Moment:
        if not self.coming:
            self.over.set()
            await asyncio.Event().wait()
        self.asked.append(list(run_ids))
        found = self.coming.pop(0)
        if isinstance(found, Exception):
            raise found
        return found


Play = Callable[..., "asyncio.Future[tuple[Script, Sampler, list[Sample]]]"]


async def played(
    monkeypatch: pytest.MonkeyPatch, coming: list[Moment | Exception]
) -> tuple[Script, Sampler, list[Sample]]:
    """A sampler that has seen it all, and what it published."""
    script, published = Script(coming), list[Sample]()
    monkeypatch.setattr(sampler, "read_moment", script.read)
    async with (
        asyncio.timeout(20),
        Sampler(cast("Redis", None), str, published.append, every_s=0.001) as made,
    ):
        await script.over.wait()
    return script, made, published


async def test_a_run_is_read_from_the_sample_after_its_start_to_the_one_after_its_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = moment(6.0, {"run-a": run(0, 0), "run-b": run()}, ["run-b"])
    script, made, published = await played(
        monkeypatch, [moment(2.0), moment(4.0, {"run-a": run()}, ["run-b", "run-a"]), ended, moment(8.0, {}, [])]
    )
    assert script.asked == [[], ["run-a"], ["run-a", "run-b"], ["run-b"]]
    assert made.series() == Series(samples=published)
    assert [dict(sample.runs) for sample in published] == [
        {}, {"run-a": run()}, {"run-a": run(0, 0), "run-b": run()}, {}
    ]  # fmt: skip
    assert [sample.queue_depth for sample in published] == [0, 4, 4, 0]


async def test_a_whole_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    engines = [replica(side="respondent", running=3, waiting=2, kv_used=0.125)]
    first = {"w1": stamped(100.0, replicas=engines)}
    second = {"w1": stamped(102.0, respondent=SideTotals(4, 100, 600, 90, 100), replicas=engines)}
    moments: list[Moment | Exception] = [
        Moment(100.1234, 2, frozenset(), {}, first),
        Moment(102.1, 1, frozenset(), {"run-a": run()}, second),
    ]
    _, _, [early, late] = await played(monkeypatch, moments)
    assert early == Sample(
        time=100.123,
        workers=2,
        queue_depth=0,
        runs={},
        sides=Sides(respondent=SideSample(running=3, waiting=2, kv_used=0.125)),
    )
    assert late.model_dump(mode="json") == {
        "time": 102.1,
        "workers": 1,
        "queue_depth": 4,
        "runs": {
            "run-a": {
                "in_flight": 1, "queued": 4, "finished": 3, "committed": 2, "dead": 1, "utterances": 7,
                "generated_tokens": 90,
            }
        },
        "sides": {
            "simulator": {
                "running": None, "waiting": None, "kv_used": None, "tokens_per_s": 0.0, "utterances_per_s": 0.0,
                "prefix_hit_ratio": None,
            },
            "respondent": {
                "running": 3, "waiting": 2, "kv_used": 0.125, "tokens_per_s": 50.0, "utterances_per_s": 2.0,
                "prefix_hit_ratio": 0.9,
            },
        },
    }  # fmt: skip


async def test_where_redis_is_away_samples_are_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        script, _, published = await played(
            monkeypatch, [moment(2.0), AWAY, AWAY, moment(8.0, {"run-a": run()}), AWAY, moment(12.0)]
        )
    assert [sample.time for sample in published] == [2.0, 8.0, 12.0]
    assert script.asked[3] == ["run-a"]
    assert [entry["event"] for entry in logs] == ["redis_away", "redis_away"]  # once each time


async def test_a_redis_that_says_nothing_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "READ_TIMEOUT_S", 0.01)
    stuck = asyncio.Event()

    async def read(*_args: object) -> Moment:
        if not stuck.is_set():
            stuck.set()
            await asyncio.Event().wait()
        return moment(2.0)

    monkeypatch.setattr(sampler, "read_moment", read)
    came = asyncio.Event()
    async with asyncio.timeout(20), Sampler(cast("Redis", None), str, lambda _: came.set(), every_s=0.001) as made:
        await came.wait()
    assert stuck.is_set()
    assert made.series().samples[0].time == 2.0


async def test_one_sample_that_fails_is_told_and_costs_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    with capture_logs() as logs:
        _, _, published = await played(monkeypatch, [moment(2.0), ValueError("strange"), moment(6.0)])
    assert [sample.time for sample in published] == [2.0, 6.0]
    assert [entry["event"] for entry in logs] == ["sample_failed"]


async def test_the_oldest_samples_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler, "MAX_SAMPLES", 3)
    _, made, published = await played(monkeypatch, [moment(float(at)) for at in range(5)])
    assert len(published) == 5
    assert [sample.time for sample in made.series().samples] == [2.0, 3.0, 4.0]


async def test_series_since_a_time_and_of_one_run(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"run-a": run(), "run-b": run(2)}
    _, made, published = await played(monkeypatch, [moment(2.0), moment(4.0, both), moment(6.0, {"run-b": run()})])
    assert made.series(since=2.0) == Series(samples=published[1:])
    assert made.series(since=6.0) == Series(samples=[])
    one = made.series(since=3.9, run_id="run-a").samples
    assert [dict(sample.runs) for sample in one] == [{"run-a": run()}, {}]
    assert one[0].model_dump(exclude={"runs"}) == published[1].model_dump(exclude={"runs"})
    assert dict(published[1].runs) == both, "what was kept is as it was"


async def test_a_sample_holds_the_busiest_runs_and_counts_the_queues_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {f"run-{number:03d}": run(in_flight=number, queued=1) for number in range(MAX_RUNS_SAMPLED + 5)}
    _, _, [sample] = await played(monkeypatch, [moment(2.0, runs)])
    assert sorted(sample.runs) == sorted(runs)[5:]
    assert sample.queue_depth == len(runs)


async def test_a_run_that_did_not_change_takes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, samples = await played(
        monkeypatch, [moment(2.0, {"run-a": run(), "run-b": run()}), moment(4.0, {"run-a": run(), "run-b": run(2)})]
    )
    first, second = samples
    assert second.runs["run-a"] is first.runs["run-a"]
    assert second.runs["run-b"] == run(2)


async def test_samples_come_in_time_however_long_one_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither drift by the time that reading takes, nor a burst after one that took long."""
    loop = asyncio.get_running_loop()
    waits: list[float] = []
    now = 1000.0

    async def sleep(delay_s: float) -> None:
        nonlocal now
        waits.append(round(delay_s, 6))
        now += delay_s
        if len(waits) == 4:
            raise asyncio.CancelledError

    durations = [0.5, 0.25, 7.0, 0.5]

    async def sample(_self: Sampler) -> None:
        nonlocal now
        now += durations[len(waits)]

    monkeypatch.setattr(loop, "time", lambda: now, raising=False)
    monkeypatch.setattr("services.orchestrator.series.sampler.asyncio.sleep", sleep)
    monkeypatch.setattr(Sampler, "_sample", sample)
    made = Sampler(cast("Redis", None), str, lambda _: None, every_s=2.0)
    with pytest.raises(asyncio.CancelledError):
        await made._run()
    assert waits == [1.5, 1.75, 0.0, 1.5]
