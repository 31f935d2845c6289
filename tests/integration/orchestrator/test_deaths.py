"""Runs under SIGKILL of each process, a Redis that restarts, leases that end early, a dataset that goes away."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import redis

from services.orchestrator.queue.keys import DEFAULT_PREFIX
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.whole_runs import Orchestrator, both, check_undisturbed, generated_twice
from tests.redis_server import RedisServer


@pytest.fixture(autouse=True)
def slow_engines(simulator: FakeEngine, respondent: FakeEngine) -> None:
    simulator.latency_s = respondent.latency_s = 0.1


def test_a_worker_killed_in_mid_run(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    victim = orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(30)
    orchestrator.wait_at_least(run_id, utterances=60)
    victim.kill()
    orchestrator.start_worker(simulator.url, respondent.url)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    asked_again = sum(count - 1 for engine in (simulator, respondent) for count in engine.requests.values())
    assert asked_again <= 30, "at most the utterance in flight of each conversation is generated again"


@pytest.mark.parametrize("process", ["api_process", "writer"])
def test_what_only_feeds_writes_or_tells_is_killed(
    process: str, orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(60)
    for committed in (1, 20):
        orchestrator.wait_at_least(run_id, committed=committed)
        victim = getattr(orchestrator, process)
        victim.kill()
        victim.start()
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert generated_twice(simulator, respondent) == 0


def kill_and_start(server: RedisServer) -> None:
    server.kill()
    server.start()


def stop_and_start(server: RedisServer) -> None:
    server.stop()
    server.start()


@pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)
@pytest.mark.parametrize("restart", [kill_and_start, stop_and_start])
def test_redis_restarts_in_mid_run(
    restart: Callable[[RedisServer], None],
    orchestrator: Orchestrator,
    simulator: FakeEngine,
    respondent: FakeEngine,
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(40)
    for utterances in (60, 160):
        orchestrator.wait_at_least(run_id, utterances=utterances)
        restart(orchestrator.redis)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def end_leases(client: redis.Redis) -> None:
    """Until somebody's claims have been given to others."""
    before = incarnations(client)

    def are_others() -> bool:
        client.delete(*(f"{DEFAULT_PREFIX}worker:{name}:lease" for name in before))
        return incarnations(client) != before

    wait_until(are_others, what="claims reclaimed from live workers")


def incarnations(client: redis.Redis) -> set[str]:
    return cast("set[str]", client.smembers(f"{DEFAULT_PREFIX}workers"))


def test_leases_that_end_under_live_workers(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    """What a clock that jumps does: everybody's claims are given to others, who are as alive."""
    for _ in range(2):
        orchestrator.start_worker(simulator.url, respondent.url, lease_s=2.0)
    run_id = orchestrator.submit(80, retries={"attempts": 50})
    with redis.Redis.from_url(orchestrator.redis.url, decode_responses=True) as client:
        for utterances in (100, 250, 400):
            orchestrator.wait_at_least(run_id, utterances=utterances)
            end_leases(client)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def test_a_dataset_that_goes_away_pauses_the_run_until_it_is_back(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=8)
    run_id = orchestrator.submit(100)
    orchestrator.wait_at_least(run_id, committed=5)
    folder, elsewhere = orchestrator.data_dir / "runs", orchestrator.data_dir / "unmounted"
    folder.rename(elsewhere)
    reason = orchestrator.wait_paused(run_id, "writer")
    assert run_id in reason
    elsewhere.rename(folder)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert generated_twice(simulator, respondent) == 0
