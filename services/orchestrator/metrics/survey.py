"""All runs and workers at one moment, read from Redis in three round trips however many there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from platolm.runs import RealismProgress, RunState
from services.orchestrator.queue.realism import REALISM_FIELDS, realism_of

KeyOf = Callable[..., str]

_FIELDS = ("state", "total", "cursor", "claimed", "limit_in_flight", "committed", "utterances", "generated_tokens")
_ANSWERS_PER_RUN = 4


@dataclass(frozen=True, slots=True)
class RunCounts:
    """One run that is not over. Counts are of conversations unless the name says otherwise.

    `num_unfed` are not in the queue yet, `num_queued` wait there, `num_finished` wait for the dataset.
    """

    state: RunState
    num_unfed: int
    num_fed: int
    num_queued: int
    num_in_flight: int
    num_finished: int
    num_committed: int
    num_dead: int
    num_utterances: int
    generated_tokens: int
    most_in_flight: int | None = None
    realism: RealismProgress | None = None

    @property
    def backlog(self) -> int:
        """Conversations that workers could begin now if there were more of them."""
        if self.state is not RunState.RUNNING:
            return 0
        waiting = self.num_unfed + self.num_queued
        free = waiting if self.most_in_flight is None else max(0, self.most_in_flight - self.num_in_flight)
        return min(waiting, free)


@dataclass(frozen=True, slots=True)
class Survey:
    """`open_runs` by run id, `reserved_tokens` by replica's URL, `num_workers` whose claims stand."""

    runs_by_state: Mapping[RunState, int]
    open_runs: Mapping[str, RunCounts]
    num_workers: int
    reserved_tokens: Mapping[str, int]

    @property
    def queue_depth(self) -> int:
        return sum(run.num_queued for run in self.open_runs.values())

    @property
    def backlog(self) -> int:
        return sum(run.backlog for run in self.open_runs.values())


async def take_survey(redis: Redis, key: KeyOf) -> Survey:
    """Read it; `key` is `Queue.key`. The open runs are read as of one instant.

    Raises:
        RedisError: Redis is away.
    """
    async with redis.pipeline(transaction=False) as pipe:
        pipe.zrange(key("runs"), 0, -1)
        pipe.smembers(key("open"))
        pipe.scard(key("workers"))
        pipe.hgetall(key("reserved"))
        run_ids, open_ids, num_workers, reserved = await pipe.execute()
    open_runs = await _open_runs(redis, key, sorted(open_ids))
    over = await _states(redis, key, [run_id for run_id in run_ids if run_id not in open_runs])
    return Survey(
        runs_by_state=Counter([*over, *(run.state for run in open_runs.values())]),
        open_runs=open_runs,
        num_workers=int(num_workers),
        reserved_tokens={url: int(tokens) for url, tokens in reserved.items()},
    )


async def _open_runs(redis: Redis, key: KeyOf, run_ids: Sequence[str]) -> dict[str, RunCounts]:
    if not run_ids:
        return {}
    async with redis.pipeline(transaction=True) as pipe:
        for run_id in run_ids:
            pipe.hmget(key("run", run_id), (*_FIELDS, *REALISM_FIELDS))
            pipe.xlen(key("stream", run_id))
            pipe.hlen(key("finished", run_id))
            pipe.hlen(key("dead", run_id))
        answers = await pipe.execute()
    rows = [answers[at : at + _ANSWERS_PER_RUN] for at in range(0, len(answers), _ANSWERS_PER_RUN)]
    return {run_id: _run_counts(*row) for run_id, row in zip(run_ids, rows, strict=True) if row[0][0] is not None}


def _run_counts(values: Sequence[str | None], in_stream: int, num_finished: int, num_dead: int) -> RunCounts:
    state, *numbers = values[: len(_FIELDS)]
    total, fed, claimed, limit, committed, utterances, tokens = (int(number or 0) for number in numbers)
    in_flight = max(0, claimed)
    return RunCounts(
        state=RunState(str(state)),
        num_unfed=max(0, total - fed),
        num_fed=fed,
        num_queued=max(0, in_stream - in_flight),
        num_in_flight=in_flight,
        num_finished=num_finished,
        num_committed=committed,
        num_dead=num_dead,
        num_utterances=utterances,
        generated_tokens=tokens,
        most_in_flight=limit or None,
        realism=realism_of(dict(zip(REALISM_FIELDS, values[len(_FIELDS) :], strict=True))),
    )


async def _states(redis: Redis, key: KeyOf, run_ids: Sequence[str]) -> list[RunState]:
    async with redis.pipeline(transaction=False) as pipe:
        for run_id in run_ids:
            pipe.hget(key("run", run_id), "state")
        answers: list[Any] = await pipe.execute() if run_ids else []
    return [RunState(state) for state in answers if state is not None]
