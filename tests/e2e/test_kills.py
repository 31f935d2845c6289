"""Kills in mid-run with nothing replaced: real engines, real Redis, the demo pair. Ids and counts count, not texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.runs import conversation_id
from platolm.spec import sampling_seed
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.local_stack import RunningStack
from tests.redis_server import RedisServer

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

CONVERSATIONS, MAX_TURNS, SEED = 48, 12, 2024


@dataclass
class Orchestrator:
    """Everything but the engines, which are the shared stack's."""

    redis: RedisServer
    api: Api
    writer: Process
    workers: list[Process]


@pytest.fixture
def orchestrator(stack: RunningStack, tmp_path: Path) -> Iterator[Orchestrator]:
    engines = [f"{stack.url(port)}/v1" for port in ("simulator_engine_port", "respondent_engine_port")]
    redis = RedisServer(tmp_path / "redis")
    with ExitStack() as ending:
        redis.start()
        ending.callback(redis.stop)
        api = api_process(tmp_path, redis.url)
        writer = writer_process(tmp_path, redis.url, segment_age_s=0.5)
        workers = [
            worker_process(tmp_path, redis.url, *engines, name=f"worker-{number}", lease_s=5.0, max_in_flight=12)
            for number in range(2)
        ]
        for process in (api, writer, *workers):
            ending.callback(process.end)
            process.start()
        yield Orchestrator(redis, api_of(api), writer, workers)


def test_a_worker_the_writer_and_redis_are_killed(orchestrator: Orchestrator) -> None:
    api = orchestrator.api
    spec = {
        "conversations": CONVERSATIONS,
        "seed": SEED,
        "endings": {"max_turns": MAX_TURNS},
        "retries": {"attempts": 20},
        "output": {"segment_records": 8},
    }
    run_id = api.submit({"spec": spec}).raise_for_status().json()["id"]
    for finished, kill in ((6, kill_a_worker), (16, kill_the_writer), (26, kill_redis)):
        wait_until(has_finished(api, run_id, finished), what=f"{finished} conversations", timeout_s=200)
        assert api.run(run_id)["state"] == "running", "it is too late to kill"
        kill(orchestrator)
    progress = api.wait_completed(run_id, timeout_s=300)
    assert (progress["committed"], progress["finished"], progress["dead"]) == (CONVERSATIONS, CONVERSATIONS, 0)
    check_records(api, run_id)


def has_finished(api: Api, run_id: str, conversations: int) -> Callable[[], bool]:
    return lambda: api.run(run_id)["finished"] >= conversations


def kill_a_worker(orchestrator: Orchestrator) -> None:
    orchestrator.workers[0].kill()
    orchestrator.workers[0].start()


def kill_the_writer(orchestrator: Orchestrator) -> None:
    orchestrator.writer.kill()
    orchestrator.writer.start()


def kill_redis(orchestrator: Orchestrator) -> None:
    orchestrator.redis.kill()
    orchestrator.redis.start()


def check_records(api: Api, run_id: str) -> None:
    """Each conversation once, its turns in order, each generated with the seed that is its place's own."""
    records = api.dataset(run_id)
    assert sorted(record["index"] for record in records) == list(range(CONVERSATIONS))
    assert sum(len(record["turns"]) for record in records) >= 2 * CONVERSATIONS
    for record in records:
        index, turns = record["index"], record["turns"]
        assert record["id"] == conversation_id(run_id, index)
        assert len(turns) <= MAX_TURNS
        assert [turn["role"] for turn in turns] == ([USER, ASSISTANT] * MAX_TURNS)[: len(turns)]
        assert [turn["sampling_seed"] for turn in turns] == [
            sampling_seed(SEED, index, turn_index) for turn_index in range(len(turns))
        ]
        sizes = [turn["num_prompt_tokens"] for turn in turns]
        assert sizes[0::2] == sorted(set(sizes[0::2])), "each prompt is longer than the one before"
        assert sizes[1::2] == sorted(set(sizes[1::2]))
