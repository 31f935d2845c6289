"""Runs whose engines refuse, fail in passing or are other ones than the run asks for."""

from __future__ import annotations

import itertools
from pathlib import Path

import httpx
import pytest

from platolm.spec import sampling_seed
from tests.fakes.engine import FakeEngine
from tests.fakes.faults import Fault
from tests.integration.orchestrator.processes import Process
from tests.integration.orchestrator.small_stack import (
    SmallStack,
    Workers,
    answered_twice,
    repeats,
)

PASSING = (
    Fault.REFUSED, Fault.BUSY, Fault.ABORTED, Fault.DROPPED, Fault.RESET, Fault.TRUNCATED, Fault.NOT_JSON,
    Fault.STRANGE, Fault.ENDLESS,
)  # fmt: skip
FOR_EVER = 10**9
TIMER_S = 0.01
"""By which an event loop's timer may be early."""


def attempts_of(stack: SmallStack, run_id: str, conversations: int) -> list[int]:
    urls = [f"{stack.api.url}/v1/conversations/{run_id}-{index:08d}" for index in range(conversations)]
    return [httpx.get(url, timeout=30).raise_for_status().json()["attempts"] for url in urls]


def test_another_model_pauses_the_run_before_anything_is_asked(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, byte_tokenizer_folder: Path
) -> None:
    worker = workers.start([simulator], [respondent])
    run_id = stack.submit(8, respondent={"profile": "platolm", "model": "other"})
    reason = stack.wait_paused(run_id, "worker")
    assert "serves platolm, not other" in reason
    assert respondent.url in reason
    stack.api.act(run_id, "resume")
    assert stack.wait_paused(run_id, "worker") == reason
    stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    assert simulator.asked_at == respondent.asked_at == {}
    assert (stack.api.dead(run_id), attempts_of(stack, run_id, 8)) == ([], [0] * 8)
    worker.end()
    with FakeEngine(byte_tokenizer_folder, "other").running() as other:
        workers.start([simulator], [other])
        assert stack.api.run(run_id)["state"] == "paused"
        stack.api.act(run_id, "resume")
        progress = stack.api.wait_completed(run_id)
    assert (progress["committed"], progress["dead"], progress["pause"]) == (8, 0, None)
    assert {record["respondent"]["model"] for record in stack.records(run_id)} == {"other"}
    assert repeats(simulator, other) == 0


def test_a_refusal_of_key_or_path_pauses_the_run(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    workers.start([simulator], [respondent])
    for status in (401, 403, 404):
        respondent.failure_status, respondent.failures = status, FOR_EVER
        run_id = stack.submit(8, seed=status)
        reason = stack.wait_paused(run_id, "worker")
        assert reason == f'{respondent.url} answered {status}: {{"error": {{"message": "made to fail"}}}}'
        stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
        assert (stack.api.dead(run_id), attempts_of(stack, run_id, 8)) == ([], [0] * 8)
        respondent.failures = 0
        stack.api.act(run_id, "resume")
        stack.check_completed(run_id)
    assert repeats(simulator, respondent) == 0


def test_retry_after_is_obeyed(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    workers.start([simulator], [respondent])
    respondent.failures, respondent.failure_status, respondent.retry_after = 5, 429, "1"
    run_id = stack.submit(8)
    stack.check_completed(run_id)
    times = [asked for asked in respondent.asked_at.values() if len(asked) > 1]
    gaps = [later - earlier for asked in times for earlier, later in itertools.pairwise(asked)]
    assert len(gaps) == 5
    assert min(gaps) >= 1.0 - TIMER_S
    assert repeats(simulator, respondent) == answered_twice(simulator, respondent) == 0


def test_faults_in_passing_cost_a_repeat_each_and_no_conversation(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    workers.start([simulator], [respondent])
    for engine in (simulator, respondent):
        engine.faults.extend(PASSING)
    run_id = stack.submit(12)
    stack.check_completed(run_id)
    assert [*simulator.faults, *respondent.faults] == []
    assert (repeats(simulator), repeats(respondent)) == (len(PASSING), len(PASSING))
    assert answered_twice(simulator, respondent) == 0


def test_answers_that_stall_are_asked_for_again(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    impatient(workers.prepare([simulator], [respondent]), body_timeout_s=0.5).start()
    simulator.faults.extend([Fault.STALLED] * 2)
    respondent.faults.append(Fault.STALLED)
    run_id = stack.submit(4)
    stack.check_completed(run_id)
    assert (repeats(simulator), repeats(respondent)) == (2, 1)
    assert answered_twice(simulator, respondent) == 0


def impatient(worker: Process, *, body_timeout_s: float) -> Process:
    """A worker with another limit for answers that stall."""
    code = (
        "import typer, platolm.engine_client, services.orchestrator.worker as worker\n"
        f"platolm.engine_client.BODY_TIMEOUT_S = {body_timeout_s}\n"
        "typer.run(worker.main)"
    )
    worker.argv[1:] = ["-c", code]
    return worker


@pytest.mark.parametrize("ends", [True, False])
def test_an_utterance_of_nothing(
    ends: bool, stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    """It ends the conversation and is no part of it; where it may not end it, it is made again with another seed."""
    workers.start([simulator], [respondent])
    respondent.faults.extend([Fault.SLOW, Fault.BLANK])
    run_id = stack.submit(1, endings={"empty": ends})
    assert stack.api.wait_completed(run_id)["dead"] == 0
    [record] = stack.records(run_id)
    assert record["termination_reason"] == ("empty" if ends else "turn_limit")
    again = [0, 0] if ends else [0, 0, 0, 1, 0, 0]
    assert [turn["sampling_seed"] for turn in record["turns"]] == [
        sampling_seed(0, 0, turn, regeneration) for turn, regeneration in enumerate(again)
    ]
    assert all(said["value"].strip() for said in record["conversations"])


def test_a_conversation_that_ends_its_engine_each_time_is_dead_in_the_end(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    workers.start([simulator], [respondent])
    respondent.faults.extend([Fault.DROPPED] * 1000)
    run_id = stack.submit(1, retries={"lost_engines": 2})
    stack.wait(run_id, lambda run: run["state"] == "completed", "run completed")
    [dead] = stack.api.dead(run_id)
    assert dead["error"].startswith("2 engines were lost while they were to answer it, the last one: ")
    assert respondent.url in dead["error"]
