"""A run through everything: API, writer, Redis and a worker as processes of their own, before real engines."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cores import Cores, pinned_to
from platolm.conversation import ASSISTANT, USER
from platolm.dataset import Record
from platolm.errors import ApiError
from platolm.sampling import Sampling
from platolm.spec import Endings, RunSpec, SideSpec
from tests.integration.orchestrator.processes import Api, api_of, api_process, worker_process, writer_process
from tests.redis_server import RedisServer

POLL_S = 2.0
Progress = dict[str, Any]
OnProgress = Callable[[Progress], Awaitable[None]]


@dataclass(frozen=True)
class Shape:
    """How long the conversations of a benchmark are: all end by their number of turns, so that nothing that was
    generated is missing in the dataset. With every turn at its longest they still fit the context.
    """

    conversations: int
    max_turns: int
    max_tokens: int
    context_tokens: int

    def spec(self) -> RunSpec:
        sampling = Sampling(max_tokens=self.max_tokens)
        return RunSpec(
            conversations=self.conversations,
            simulator=SideSpec(profile="socratic", sampling=sampling),
            respondent=SideSpec(profile="platolm", sampling=sampling),
            endings=Endings(
                context_tokens=self.context_tokens,
                max_turns=self.max_turns,
                user_ended=False,
                repetition=False,
                empty=False,
            ),
        )


@dataclass(frozen=True)
class StackRun:
    """A completed run. Seconds count from before its submission: to its last conversation's end, and to completion."""

    records: list[Record]
    seconds: float
    committed_s: float


@contextmanager
def orchestrator(
    folder: Path, urls: Mapping[str, Sequence[str]], in_flight: int, cores: Cores, **worker_settings: str
) -> Iterator[Api]:
    """The orchestrator's processes on the client's cores; `urls` are the engines', by role."""
    with ExitStack() as ending, pinned_to(cores.client):
        redis = RedisServer(folder / "redis")
        redis.start()
        ending.callback(redis.stop)
        api = api_process(folder, redis.url, log_level="WARNING")
        writer = writer_process(folder, redis.url, log_level="WARNING")
        simulators, respondents = (",".join(urls[role]) for role in (USER, ASSISTANT))
        worker = worker_process(
            folder, redis.url, simulators, respondents, max_in_flight=in_flight, log_level="WARNING", **worker_settings
        )
        for process in (api, writer, worker):
            ending.callback(process.end)
            process.start()
        yield api_of(api)


async def complete(api: Api, spec: RunSpec, on_progress: OnProgress | None = None) -> StackRun:
    """Submit a run and follow it to its end.

    Raises:
        ApiError: it was refused, or stopped before its end.
    """
    submitted_at, started = time.time(), time.monotonic()
    answer = api.submit({"spec": spec.model_dump(mode="json")})
    if answer.is_error:
        raise ApiError(f"the run was refused: {answer.text[:300]}", status=answer.status_code)
    run_id = str(answer.json()["id"])
    while (progress := await asyncio.to_thread(api.run, run_id))["state"] != "completed":
        if progress["state"] != "running" or progress["dead"]:
            raise ApiError(f"the run did not go well: {progress}")
        if on_progress is not None:
            await on_progress(progress)
        await asyncio.sleep(POLL_S)
    committed_s = time.monotonic() - started
    records = await asyncio.to_thread(api.dataset, run_id)
    return StackRun(records, max(record["finished_at"] for record in records) - submitted_at, committed_s)
