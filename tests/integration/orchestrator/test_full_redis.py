"""A Redis whose memory is full in the middle of a run: everything waits, and goes on when it has room again."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import Process, wait_until
from tests.integration.orchestrator.small_stack import SmallStack, Workers, repeats

CONVERSATIONS = 60


def times(log: Path, text: str) -> int:
    return log.read_text().count(text)


@pytest.fixture
def worker(workers: Workers, simulator: FakeEngine, respondent: FakeEngine) -> Process:
    simulator.latency_s = respondent.latency_s = 0.1
    return workers.start([simulator], [respondent])


def test_a_run_waits_for_memory_and_loses_nothing(
    stack: SmallStack, worker: Process, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    run_id = stack.submit(CONVERSATIONS)
    stack.wait_utterances(run_id, 40)
    with redis.Redis.from_url(stack.redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            wait_until(lambda: times(worker.log, "maxmemory") >= 3, what="refusals", log=worker.log)
            assert worker.popen is not None
            assert worker.popen.poll() is None, "the worker lives"
            assert stack.api.run(run_id)["state"] == "running", "reading needs no memory"
            refused = stack.api.submit({"spec": {"conversations": 1}})
            assert (refused.status_code, refused.headers["Retry-After"]) == (503, "1")
            assert "maxmemory" in refused.json()["detail"]
        finally:
            client.config_set("maxmemory", 0)
    stack.check_completed(run_id)
    assert times(worker.log, "lease_lost") == 0, "a full Redis costs nobody its claims"
    assert repeats(simulator, respondent) == 0


def test_what_is_finished_is_written_meanwhile_and_frees_memory(
    stack: SmallStack, worker: Process, simulator: FakeEngine
) -> None:
    """So that a Redis that is full of records that wait for the dataset empties itself."""
    simulator.latency_s = 1.0
    run_id = stack.submit(CONVERSATIONS, endings={"max_turns": 1})
    stack.wait_utterances(run_id, 1)
    with redis.Redis.from_url(stack.redis.url) as client:
        client.config_set("maxmemory", 1)
        try:
            wait_until(lambda: times(worker.log, "maxmemory") >= 3, what="refusals", log=worker.log)
            stack.wait(run_id, lambda run: run["committed"] == run["finished"] > 0, "a commit")
        finally:
            client.config_set("maxmemory", 0)
    stack.check_completed(run_id)
