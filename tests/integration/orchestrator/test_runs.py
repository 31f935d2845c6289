"""Whole runs with nothing in their way, against fake engines that count what they are asked."""

from __future__ import annotations

import signal

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.whole_runs import (
    Orchestrator,
    both,
    check_dataset,
    check_undisturbed,
    generated_twice,
    spec,
)


def test_a_run_completes(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    worker = orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(40)
    records = check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert {record["termination_reason"] for record in records} <= {"turn_limit", "repetition"}
    assert generated_twice(simulator, respondent) == 0
    assert worker.send(signal.SIGTERM) == 0


def test_the_same_spec_and_seed_give_the_same_dialogues(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url)
    run_ids = [orchestrator.submit(6, seed=seed) for seed in (7, 7, 8)]
    first, second, other = (
        {record["index"]: record["conversations"] for record in check_dataset(orchestrator.api, run_id, 6)}
        for run_id in run_ids
    )
    assert first == second
    assert first != other


def test_seeds(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    orchestrator.start_worker(simulator.url, respondent.url)
    api = orchestrator.api
    seeds = [{"question": f"Question {i}?", "answer": f"Answer {i}.", "line": i} for i in (1, 2)]
    too_long = {"question": "x" * 2000, "line": 3}
    question = api.submit({**spec(4, seed_mode="question"), "seeds": [*seeds, too_long]}).json()
    assert "lines 3" in question["warnings"][-1]
    for record in check_dataset(api, question["id"], 4):
        given = seeds[record["index"] % 2]
        assert record["conversations"][0]["value"] == given["question"]
        assert record["conversations"][1]["value"] != given["answer"]
        assert (record["turns"][0]["finish_reason"], record["seed_line"]) == ("seed", given["line"])
    exchange = api.submit({**spec(2, seed_mode="exchange"), "seeds": seeds}).json()
    for record in check_dataset(api, exchange["id"], 2):
        assert record["conversations"][1]["value"] == seeds[record["index"]]["answer"]


def test_a_worker_that_stops_gives_everything_back(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 0.2
    first = orchestrator.start_worker(simulator.url, respondent.url, lease_s=60.0)
    run_id = orchestrator.submit(20)
    orchestrator.wait_at_least(run_id, utterances=20)
    assert first.send(signal.SIGTERM) == 0
    orchestrator.start_worker(simulator.url, respondent.url, lease_s=60.0)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert generated_twice(simulator, respondent) == 0


def test_hundreds_of_conversations_in_flight(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 1.0
    orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=300)
    run_id = orchestrator.submit(300, endings={"max_turns": 4})
    check_dataset(orchestrator.api, run_id, 300)
    assert simulator.most_in_flight + respondent.most_in_flight >= 300


def test_a_small_run_is_not_stuck_behind_a_huge_one(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 0.05
    orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=16)
    huge = orchestrator.submit(100_000)
    orchestrator.wait_at_least(huge, finished=20)
    small = orchestrator.submit(16)
    check_undisturbed(orchestrator, small, both(simulator, respondent), timeout_s=30)
    assert orchestrator.api.run(huge)["state"] == "running"


def test_workers_share_a_run(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    simulator.latency_s = respondent.latency_s = 0.1
    workers = [orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=8) for _ in range(2)]
    run_id = orchestrator.submit(64)
    wait_until(lambda: simulator.in_flight + respondent.in_flight > 8, what="more in flight than one worker may have")
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert generated_twice(simulator, respondent) == 0
    assert [worker.send(signal.SIGTERM) for worker in workers] == [0, 0]
