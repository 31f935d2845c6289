"""All that a sample is made of, read from Redis in one round trip."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from platolm.series_api import RunSample
from services.orchestrator.queue.reports import StampedReport, recent_reports

KeyOf = Callable[..., str]

_FIELDS = ("claimed", "finished", "committed", "utterances", "generated_tokens")
_ANSWERS_PER_RUN = 3


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant, `at` seconds since the epoch of Redis's clock.

    `runs` are those that were asked for and exist, `open_runs` those that are open now; `reports` are by worker.
    """

    at: float
    workers: int
    open_runs: frozenset[str]
    runs: Mapping[str, RunSample]
    reports: Mapping[str, StampedReport]


async def read_moment(redis: Redis, key: KeyOf, run_ids: Sequence[str]) -> Moment:
    """Read the runs that are named, and everything else; `key` is `Queue.key`.

    Raises:
        RedisError: Redis is away.
    """
    async with redis.pipeline(transaction=True) as pipe:
        pipe.time()
        pipe.scard(key("workers"))
        pipe.smembers(key("open"))
        pipe.hgetall(key("reports"))
        for run_id in run_ids:
            pipe.hmget(key("run", run_id), _FIELDS)
            pipe.xlen(key("stream", run_id))
            pipe.hlen(key("dead", run_id))
        (seconds, microseconds), workers, open_runs, reports, *answers = await pipe.execute()
    at = int(seconds) + int(microseconds) / 1e6
    return Moment(
        at=at,
        workers=int(workers),
        open_runs=frozenset(open_runs),
        runs=_runs(run_ids, answers),
        reports=recent_reports(reports, at),
    )


def _runs(run_ids: Sequence[str], answers: Sequence[Any]) -> dict[str, RunSample]:
    rows = [answers[at : at + _ANSWERS_PER_RUN] for at in range(0, len(answers), _ANSWERS_PER_RUN)]
    # Every run has `committed` from its first moment on.
    return {run_id: _run(*row) for run_id, row in zip(run_ids, rows, strict=True) if row[0][2] is not None}


def _run(values: Sequence[str | None], in_stream: int, dead: int) -> RunSample:
    claimed, finished, committed, utterances, generated_tokens = (int(value or 0) for value in values)
    in_flight = max(0, claimed)
    return RunSample(
        in_flight=in_flight,
        queued=max(0, in_stream - in_flight),
        finished=finished,
        committed=committed,
        dead=dead,
        utterances=utterances,
        generated_tokens=generated_tokens,
    )
