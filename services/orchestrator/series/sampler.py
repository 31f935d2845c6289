"""One task that samples everything every two seconds, for the charts of all who look.

It costs Redis one round trip a sample, whoever looks or not; where Redis is away, samples are missing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self

import structlog
from redis.asyncio import Redis

from platolm.series_api import (
    MAX_RUNS_SAMPLED,
    MAX_SAMPLES,
    SAMPLE_EVERY_S,
    RunSample,
    Sample,
    Series,
    Sides,
    SideSample,
)
from services.orchestrator.queue import REDIS_AWAY
from services.orchestrator.series.loads import Load, loads
from services.orchestrator.series.moment import KeyOf, Moment, read_moment
from services.orchestrator.series.rates import RateMeter, Rates

logger = structlog.get_logger(__name__)

READ_TIMEOUT_S = 5.0
"""A Redis that takes a connection and then says nothing is away."""


class Sampler:
    """The last hour's samples. Use it as a context manager: it samples while entered, and hands each to `publish`."""

    def __init__(
        self, redis: Redis, key: KeyOf, publish: Callable[[Sample], None], *, every_s: float = SAMPLE_EVERY_S
    ) -> None:
        self._redis = redis
        self._key = key
        self._publish = publish
        self._every_s = every_s
        self._samples: deque[Sample] = deque(maxlen=MAX_SAMPLES)
        self._meter = RateMeter()
        self._run_ids: frozenset[str] = frozenset()
        self._is_away = False
        self._sampling: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sampling = asyncio.create_task(self._run(), name="sampler")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._sampling is not None
        self._sampling.cancel()
        with suppress(asyncio.CancelledError):
            await self._sampling

    def series(self, *, since: float = 0.0, run_id: str | None = None) -> Series:
        """The samples after a time, in seconds since the epoch; with a run, only its part of their runs."""
        found = [sample for sample in self._samples if sample.time > since]
        return Series(samples=found if run_id is None else [_only(sample, run_id) for sample in found])

    async def _run(self) -> None:
        """Every `every_s` on the clock, however long a sample takes; errors end here."""
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            try:
                await self._sample()
            except (TimeoutError, *REDIS_AWAY) as error:
                self._tell_away(error)
            except Exception:  # whatever is wrong with one sample, the next may be right
                logger.exception("sample_failed")
            due = max(due + self._every_s, loop.time())
            await asyncio.sleep(due - loop.time())

    async def _sample(self) -> None:
        async with asyncio.timeout(READ_TIMEOUT_S):
            moment = await read_moment(self._redis, self._key, sorted(self._run_ids))
        # A run is read from the second sample on: which are open is part of the same round trip.
        self._run_ids = moment.open_runs
        self._is_away = False
        self._meter.note(moment.reports)
        sample = self._made_of(moment)
        self._samples.append(sample)
        self._publish(sample)

    def _made_of(self, moment: Moment) -> Sample:
        by_side = loads(moment.reports.values())

        def side(name: str) -> SideSample:
            return _side(by_side.get(name, Load()), self._meter.rates(name))

        return Sample(
            time=round(moment.at, 3),
            workers=moment.workers,
            queue_depth=sum(run.queued for run in moment.runs.values()),
            runs=self._kept(moment.runs),
            sides=Sides(simulator=side("simulator"), respondent=side("respondent")),
        )

    def _kept(self, runs: Mapping[str, RunSample]) -> dict[str, RunSample]:
        """The busiest; one that did not change is the last sample's, so that an hour of idle runs takes no room."""
        busiest = sorted(runs, key=lambda run_id: (-runs[run_id].in_flight, run_id))[:MAX_RUNS_SAMPLED]
        last = self._samples[-1].runs if self._samples else {}
        return {run_id: last[run_id] if last.get(run_id) == runs[run_id] else runs[run_id] for run_id in busiest}

    def _tell_away(self, error: BaseException) -> None:
        """Once for each time that Redis is away."""
        if not self._is_away:
            logger.warning("redis_away", error=str(error))
        self._is_away = True


def _side(load: Load, rates: Rates) -> SideSample:
    return SideSample(
        running=load.running,
        waiting=load.waiting,
        kv_used=load.kv_used,
        tokens_per_s=rates.tokens_per_s,
        utterances_per_s=rates.utterances_per_s,
        prefix_hit_ratio=rates.prefix_hit_ratio,
    )


def _only(sample: Sample, run_id: str) -> Sample:
    run = sample.runs.get(run_id)
    return sample.model_copy(update={"runs": {} if run is None else {run_id: run}})
