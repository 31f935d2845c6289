"""Engines that fail, refuse, stall, hang or go: nothing is lost, nothing is made worse, and the words stay the same."""

from __future__ import annotations

import socket
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.spec import sampling_seed
from tests.fakes.engine import FakeEngine
from tests.fakes.engine_process import EngineProcess, Settings
from tests.fakes.faults import ENDLESS_BYTES, Fault
from tests.integration.orchestrator.processes import Process, wait_until
from tests.integration.orchestrator.whole_runs import (
    MAX_TURNS,
    Orchestrator,
    both,
    check_dataset,
    check_undisturbed,
    generated_twice,
)

IN_PASSING = [
    Fault.REFUSED, Fault.BUSY, Fault.ABORTED, Fault.DROPPED, Fault.RESET, Fault.TRUNCATED, Fault.NOT_JSON,
    Fault.STRANGE, Fault.SLOW,
]  # fmt: skip


@pytest.fixture
def worker(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> Process:
    return orchestrator.start_worker(simulator.url, respondent.url)


def resume(orchestrator: Orchestrator, run_id: str) -> None:
    httpx.post(f"{orchestrator.api.url}/v1/runs/{run_id}/resume", timeout=30).raise_for_status()


# answers


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("fault", IN_PASSING)
def test_answers_that_are_spoiled_in_passing(
    fault: Fault, orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.faults.extend([fault] * 12)
    run_id = orchestrator.submit(10)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert not simulator.faults
    assert generated_twice(simulator, respondent) == 0


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_refusals_that_pass(
    status: int, orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.failures, simulator.failure_status = 12, status
    run_id = orchestrator.submit(10)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert simulator.failures == 0


@pytest.mark.usefixtures("worker")
def test_retry_after_is_obeyed(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    simulator.failures, simulator.failure_status, simulator.retry_after = 3, 429, "2"
    run_id = orchestrator.submit(3)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    gaps = [later - earlier for times in simulator.asked_at.values() for earlier, later in pairwise(times)]
    assert len(gaps) == 3
    assert all(gap >= 2.0 for gap in gaps)


def test_a_body_that_stalls_is_given_up(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url, request_timeout_s=2.0)
    simulator.faults.extend([Fault.STALLED] * 3)
    run_id = orchestrator.submit(6)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert not simulator.faults


def test_an_endless_answer_is_cut_off(
    worker: Process, orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    run_id = orchestrator.submit(4)
    check_dataset(orchestrator.api, run_id, 4)
    before = peak_memory_bytes(worker)
    simulator.faults.append(Fault.ENDLESS)
    run_id = orchestrator.submit(4)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert not simulator.faults
    assert peak_memory_bytes(worker) - before < ENDLESS_BYTES


def peak_memory_bytes(process: Process) -> int:
    assert process.popen is not None
    status = Path(f"/proc/{process.popen.pid}/status").read_text()
    [line] = [line for line in status.split("\n") if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


@pytest.mark.usefixtures("worker")
def test_blank_utterances_end_their_conversations(orchestrator: Orchestrator, respondent: FakeEngine) -> None:
    respondent.ends_one_in = 1
    run_id = orchestrator.submit(10)
    records = check_dataset_of_any_length(orchestrator, run_id, 10)
    assert {record["termination_reason"] for record in records} == {"empty"}
    assert [len(record["turns"]) for record in records] == [1] * 10, "the question of the first round is kept"


def check_dataset_of_any_length(orchestrator: Orchestrator, run_id: str, conversations: int) -> list[dict[str, Any]]:
    progress = orchestrator.api.wait_completed(run_id)
    assert (progress["committed"], progress["dead"]) == (conversations, 0)
    return orchestrator.api.dataset(run_id)


# what no repetition changes


@pytest.mark.usefixtures("worker")
def test_a_request_that_is_refused_for_good_makes_dead_letters(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.failures, simulator.failure_status = 6, 400
    run_id = orchestrator.submit(2, retries={"attempts": 3})
    progress = orchestrator.api.wait_completed(run_id)
    assert (progress["dead"], progress["finished"]) == (2, 0)
    assert all("made to fail" in letter["error"] for letter in orchestrator.api.dead(run_id))
    answer = httpx.post(f"{orchestrator.api.url}/v1/runs/{run_id}/retry-dead", timeout=30).raise_for_status()
    assert answer.json()["retried"] == 2
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("status", [401, 403, 404])
def test_an_engine_that_lets_nobody_in_pauses_the_run(
    status: int, orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.failures, simulator.failure_status = 10**9, status
    run_id = orchestrator.submit(20, retries={"attempts": 1})
    assert str(status) in orchestrator.wait_paused(run_id, "worker")
    wait_until(lambda: orchestrator.api.run(run_id)["in_flight"] == 0, what="everything given back")
    assert orchestrator.failed_attempts() == [0] * 20
    simulator.failures = 0
    resume(orchestrator, run_id)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def test_a_model_that_is_not_served_pauses_the_run(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(20, simulator={"profile": "socratic", "model": "socratic-2"}, retries={"attempts": 1})
    reason = orchestrator.wait_paused(run_id, "worker")
    assert "socratic-2" in reason
    assert simulator.url in reason
    wait_until(lambda: orchestrator.api.run(run_id)["in_flight"] == 0, what="everything given back")
    assert orchestrator.failed_attempts() == [0] * 20
    assert not simulator.asked_at
    simulator.model = "socratic-2"
    resume(orchestrator, run_id)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def test_a_model_that_is_served_no_more_pauses_the_run(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = 0.1
    orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=8)
    run_id = orchestrator.submit(40, retries={"attempts": 1})
    orchestrator.wait_at_least(run_id, finished=8)
    simulator.model = "another"
    assert "socratic" in orchestrator.wait_paused(run_id, "worker")
    simulator.model = "socratic"
    resume(orchestrator, run_id)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


# endpoints that do not answer


def test_endpoints_that_refuse_connections_make_the_run_wait(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    check_waits(orchestrator, simulator, respondent)


def test_endpoints_that_accept_and_say_nothing_make_the_run_wait(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    with socket.socket() as half_open:
        half_open.bind(("127.0.0.1", orchestrator.spare_port))
        half_open.listen(128)
        check_waits(orchestrator, simulator, respondent)


def check_waits(orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine) -> None:
    """The run waits and says for what; a run beside it, on engines that answer, does not."""
    url = f"http://127.0.0.1:{orchestrator.spare_port}/v1"
    orchestrator.start_worker(simulator.url, respondent.url, engines_patience_s=1.0)
    run_id = orchestrator.submit(4, simulator={"profile": "socratic", "endpoints": [url]}, retries={"attempts": 1})
    other = orchestrator.submit(4)
    check_undisturbed(orchestrator, other, both(simulator, respondent))
    assert url in orchestrator.wait_paused(run_id, "engines")
    assert orchestrator.failed_attempts() == [0] * 4


# replicas


@pytest.fixture
def replicas(byte_tokenizer_folder: Path, tmp_path: Path) -> Iterator[list[EngineProcess]]:
    """Two simulators that can be killed."""
    with ExitStack() as ending:
        engines = [
            EngineProcess(byte_tokenizer_folder, "socratic", tmp_path / f"replica-{number}", Settings(latency_s=0.1))
            for number in range(2)
        ]
        for engine in engines:
            ending.callback(engine.stop)
            engine.start()
        yield engines


def answered_by_conversation(engines: list[EngineProcess], run_seed: int, conversations: int) -> dict[int, list[int]]:
    """Which replica answered each conversation's utterances, in their order."""
    index_of = {
        sampling_seed(run_seed, index, turn): index for index in range(conversations) for turn in range(MAX_TURNS)
    }
    answers = sorted(
        (asked.at, index_of[asked.seed], number)
        for number, engine in enumerate(engines)
        for asked in engine.asked()
        if asked.was_answered
    )
    found = defaultdict(list)
    for _, index, number in answers:
        found[index].append(number)
    return dict(found)


def test_conversations_stay_where_they_were_placed_until_that_replica_is_killed(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine, replicas: list[EngineProcess]
) -> None:
    urls = ",".join(replica.url for replica in replicas)
    orchestrator.start_worker(urls, respondent.url, max_in_flight=24)
    run_id = orchestrator.submit(80, seed=11)
    orchestrator.wait_at_least(run_id, finished=30)
    replicas[0].kill()
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    answered = answered_by_conversation(replicas, 11, 80)
    assert len(answered) == 80
    moved = [where for where in answered.values() if len(set(where)) > 1]
    assert all(sorted(where) == where for where in moved), "only away from the killed one, and only once"
    assert 0 < len(moved) <= 24, "those in flight there, and no others"
    assert {where[0] for where in answered.values()} == {0, 1}


def test_a_new_replica_is_used_within_seconds(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine, replicas: list[EngineProcess]
) -> None:
    urls = ",".join(replica.url for replica in replicas)
    replicas[1].kill()
    orchestrator.start_worker(urls, respondent.url, max_in_flight=8)
    run_id = orchestrator.submit(200)
    orchestrator.wait_at_least(run_id, finished=8)
    assert replicas[1].asked() == []
    replicas[1].start()
    wait_until(lambda: len(replicas[1].asked()) > 0, what="the new replica is asked", timeout_s=10)
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def test_a_hung_engine_is_left_though_it_looks_healthy(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine, byte_tokenizer_folder: Path
) -> None:
    with FakeEngine(byte_tokenizer_folder, "socratic", latency_s=0.1).running() as other:
        simulator.latency_s = 0.1
        urls = f"{simulator.url},{other.url}"
        orchestrator.start_worker(urls, respondent.url, max_in_flight=16, hang_after_s=1.0)
        run_id = orchestrator.submit(60)
        orchestrator.wait_at_least(run_id, finished=10)
        simulator.is_hung = True
        check_undisturbed(orchestrator, run_id, both(other, respondent))
        assert simulator.in_flight > 0, "it never answered those"
        assert httpx.get(simulator.url.removesuffix("/v1") + "/health", timeout=5).status_code == 200
        simulator.is_hung = False


def test_a_run_waits_while_all_engines_of_a_side_are_away(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine, replicas: list[EngineProcess]
) -> None:
    urls = ",".join(replica.url for replica in replicas)
    orchestrator.start_worker(urls, respondent.url, engines_patience_s=1.0)
    run_id = orchestrator.submit(200, retries={"attempts": 1})
    orchestrator.wait_at_least(run_id, utterances=50)
    for replica in replicas:
        replica.kill()
    assert replicas[0].url in orchestrator.wait_paused(run_id, "engines")
    replicas[1].start()
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))


def test_no_engine_is_given_more_than_its_cache_holds(
    orchestrator: Orchestrator, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    """Admission by what a conversation reserves: first its whole context, later what conversations turn out to need."""
    simulator.latency_s = respondent.latency_s = 0.05
    simulator.kv_tokens = 4 * 1024
    orchestrator.start_worker(simulator.url, respondent.url)
    run_id = orchestrator.submit(60, endings={"max_turns": 4, "context_tokens": 1024})
    check_undisturbed(orchestrator, run_id, both(simulator, respondent))
    assert simulator.most_in_flight <= simulator.kv_tokens // 200, "no prompt is shorter than 200 tokens"
    assert respondent.most_in_flight <= simulator.kv_tokens // 200
