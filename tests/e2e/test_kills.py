"""Kills in mid-run with nothing replaced: real engines, real Redis, the demo pair. Ids and counts count, not texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

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
WORKERS, IN_FLIGHT = 2, 12


@dataclass
class Orchestrator:
    """Everything but the engines, which are the shared stack's."""

    redis: RedisServer
    api: Api
    writer: Process
    workers: list[Process]
    engines: list[str]

    def generated(self) -> int:
        """Utterances that the engines have finished since they began, whoever asked."""
        pages = [httpx.get(url.replace("/v1", "/metrics"), timeout=10).raise_for_status().text for url in self.engines]
        return sum(_finished_requests(page) for page in pages)


def _finished_requests(page: str) -> int:
    """Sum of `vllm:request_success_total` over its reasons; a request that was broken off has none."""
    (family,) = [found for found in text_string_to_metric_families(page) if found.name == "vllm:request_success"]
    reasons = {
        sample.labels["finished_reason"]: int(sample.value)
        for sample in family.samples
        if sample.name.endswith("_total")
    }
    return sum(count for reason, count in reasons.items() if reason != "abort")


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
            worker_process(tmp_path, redis.url, *engines, name=f"worker-{number}", lease_s=5.0, max_in_flight=IN_FLIGHT)
            for number in range(WORKERS)
        ]
        for process in (api, writer, *workers):
            ending.callback(process.end)
            process.start()
        yield Orchestrator(redis, api_of(api), writer, workers, engines)


def test_a_worker_the_writer_and_redis_are_killed(orchestrator: Orchestrator) -> None:
    api = orchestrator.api
    spec = {
        "conversations": CONVERSATIONS,
        "seed": SEED,
        "endings": {"max_turns": MAX_TURNS},
        "retries": {"attempts": 20},
        "output": {"segment_records": 8},
    }
    before = orchestrator.generated()
    run_id = api.submit({"spec": spec}).raise_for_status().json()["id"]
    for finished, kill in ((6, kill_a_worker), (16, kill_the_writer), (26, kill_redis)):
        wait_until(has_finished(api, run_id, finished), what=f"{finished} conversations", timeout_s=200)
        assert api.run(run_id)["state"] == "running", "it is too late to kill"
        kill(orchestrator)
    progress = api.wait_completed(run_id, timeout_s=300)
    assert (progress["committed"], progress["finished"], progress["dead"]) == (CONVERSATIONS, CONVERSATIONS, 0)
    check_records(api, run_id)
    check_repeats(api, run_id, generated=orchestrator.generated() - before)


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


def check_repeats(api: Api, run_id: str, *, generated: int) -> None:
    """What was generated twice was in flight at a kill: of one worker, then of all when Redis went."""
    kept = sum(len(record["turns"]) for record in api.dataset(run_id))
    in_flight_at_kills = IN_FLIGHT + WORKERS * IN_FLIGHT
    print(f"{generated} utterances generated, {kept} kept, {in_flight_at_kills} in flight at kills")
    assert kept <= generated <= kept + in_flight_at_kills


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
