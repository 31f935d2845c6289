"""Runs that share workers, are stopped and go on: by limits, by a person, by leases that run out under live workers."""

from __future__ import annotations

import signal
import time
from typing import Any

import pytest
import redis

from platolm.conversation import ASSISTANT, USER
from platolm.spec import RunSpec, sampling_seed
from services.orchestrator.queue.keys import DEFAULT_PREFIX
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.chaos.undisturbed import content, undisturbed
from tests.integration.orchestrator.processes import Process, wait_until
from tests.integration.orchestrator.small_stack import (
    MAX_IN_FLIGHT,
    MAX_TURNS,
    SmallStack,
    Workers,
    repeats,
)

LATENCY_S = 0.05
UNHURRIED_S = 0.2


@pytest.fixture
def engines(simulator: FakeEngine, respondent: FakeEngine) -> tuple[FakeEngine, FakeEngine]:
    simulator.latency_s = respondent.latency_s = LATENCY_S
    return simulator, respondent


def start(workers: Workers, engines: tuple[FakeEngine, FakeEngine], **settings: object) -> Process:
    return workers.start([engines[0]], [engines[1]], **settings)


def text_of(engine: FakeEngine) -> str:
    """Everything that an engine was prompted with."""
    return "\n".join(engine.tokenizer.decode(list(prompt)) for prompt, _ in engine.requests)


def test_a_small_run_is_not_behind_a_big_one(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines, max_in_flight=8)
    big = stack.submit(2000, seed=1, endings={"max_turns": 4})
    stack.wait_utterances(big, 40)
    small = stack.submit(8, seed=2, endings={"max_turns": 4})
    stack.wait_utterances(small, 1)
    before = stack.api.run(big)["finished"]
    stack.check_completed(small)
    meanwhile = stack.api.run(big)["finished"] - before
    assert meanwhile <= 3 * 8, "each had its share of the slots"
    cancelled = check_cancelled(stack, big)
    assert cancelled["cancelled"] >= 1000


def check_cancelled(stack: SmallStack, run_id: str) -> dict[str, Any]:
    """Cancel; what was finished is in the dataset as if undisturbed, what was not is counted."""
    stack.api.act(run_id, "cancel")
    progress = stack.wait(run_id, lambda run: run["state"] == "cancelled", "cancelled")
    records = stack.records(run_id)
    assert len(records) == len({record["index"] for record in records}) == progress["committed"]
    assert progress["committed"] + progress["cancelled"] == progress["spec"]["conversations"]
    assert (progress["finished"], progress["dead"], progress["in_flight"]) == (progress["committed"], 0, 0)
    return progress


def test_the_limit_of_what_is_in_flight(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    start(workers, engines)
    run_id = stack.submit(20, limits={"in_flight": 3})
    in_flight: list[int] = []

    def is_over() -> bool:
        progress = stack.api.run(run_id)
        in_flight.append(progress["in_flight"])
        return bool(progress["state"] == "completed")

    wait_until(is_over, what="run completed")
    assert max(in_flight) == 3
    assert max(engine.most_in_flight for engine in engines) <= 3
    stack.check_completed(run_id)


def test_the_limit_of_tokens_pauses_again_and_again(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    limit = 800
    run_id = stack.submit(16, limits={"generated_tokens": limit})
    generated = [0]
    while stack.wait(run_id, lambda run: run["state"] in ("paused", "completed"), "a pause")["state"] == "paused":
        assert stack.wait_paused(run_id, "limit") == f"{limit} tokens are generated (limits.generated_tokens)"
        progress = stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
        generated.append(progress["generated_tokens"])
        assert generated[-1] - generated[-2] >= limit
        stack.api.act(run_id, "resume")
    records = stack.check_completed(run_id)
    total = sum(turn["num_tokens"] for record in records for turn in record["turns"])
    assert stack.api.run(run_id)["generated_tokens"] == total
    most = max(turn["num_tokens"] for record in records for turn in record["turns"])
    assert total / (limit + MAX_IN_FLIGHT * most) - 1 <= len(generated) - 1 <= total / limit
    assert len(generated) > 2
    assert repeats(*engines) == 0


def test_the_limit_of_dead_conversations_and_another_try(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    _, respondent = engines
    respondent.failures, respondent.failure_status = 3, 400
    run_id = stack.submit(6, retries={"attempts": 1}, limits={"dead": 2, "in_flight": 1})
    reason = stack.wait_paused(run_id, "limit")
    assert reason.startswith("2 conversations are dead (limits.dead), the last one: ")
    assert "made to fail" in reason
    assert stack.api.run(run_id)["dead"] == 2
    stack.api.act(run_id, "resume")
    progress = stack.api.wait_completed(run_id)
    assert (progress["committed"], progress["dead"]) == (3, 3)
    letters = stack.api.dead(run_id)
    assert {(letter["attempts"], "answered 400" in letter["error"]) for letter in letters} == {(1, True)}
    given_up = {letter["index"] for letter in letters}
    assert given_up.isdisjoint(record["index"] for record in stack.records(run_id))
    again = stack.api.act(run_id, "retry-dead")
    assert (again["retried"], again["run"]["state"], again["run"]["dead"]) == (3, "running", 0)
    stack.check_completed(run_id)
    assert repeats(*engines) == 0, "what had been said before the death stays said"


def test_a_person_pauses_and_resumes(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    run_id = stack.submit(40)
    others = 0
    for at_least in (20, 60, 120):
        stack.wait_utterances(run_id, at_least)
        assert stack.api.act(run_id, "pause")["pause"]["by"] == "user"
        held = stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")["utterances"]
        assert held + others == sum(engine.answered.total() for engine in engines), "all that was said is kept"
        others += stack.api.wait_completed(stack.submit(2, seed=at_least))["utterances"]
        assert stack.api.run(run_id)["utterances"] == held, "nothing of a paused run is handed out"
        stack.api.act(run_id, "resume")
    stack.check_completed(run_id)
    assert repeats(*engines) == 0


def test_a_run_is_cancelled_in_mid_flight(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    run_id = stack.submit(200)
    stack.wait(run_id, lambda run: run["committed"] >= 10, "commits")
    progress = check_cancelled(stack, run_id)
    assert progress["cancelled"] > 0
    spec = RunSpec.model_validate(progress["spec"])
    expected = undisturbed(run_id, spec, stack.said_by)
    assert all(content(record) == expected[record["index"]] for record in stack.records(run_id))
    other = stack.submit(4, seed=9)
    stack.check_completed(other)


def test_leases_that_are_gone_under_live_workers(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    """What a clock that jumps does: Redis lets every lease run out at once, and nobody has died."""
    for engine in engines:
        engine.latency_s = UNHURRIED_S
    start(workers, engines, max_in_flight=8)
    start(workers, engines, max_in_flight=8)
    run_id = stack.submit(MAX_IN_FLIGHT * 2)
    stack.wait(run_id, lambda run: run["in_flight"] == MAX_IN_FLIGHT, "both work")
    for _ in range(2):
        let_leases_run_out(stack)
    stack.check_completed(run_id)
    assert 0 < repeats(*engines) <= 2 * MAX_IN_FLIGHT


def let_leases_run_out(stack: SmallStack) -> None:
    """Until a worker has lost its claims."""
    deadline = time.monotonic() + 30
    before = incarnations(stack)
    with redis.Redis.from_url(stack.redis.url, decode_responses=True) as client:
        while before <= incarnations(stack):
            assert time.monotonic() < deadline, "nobody's claims were given to others"
            for lease in client.scan_iter(f"{DEFAULT_PREFIX}worker:*:lease"):
                client.delete(lease)


def incarnations(stack: SmallStack) -> set[str]:
    """Whose claims stand."""
    with redis.Redis.from_url(stack.redis.url, decode_responses=True) as client:
        names: Any = client.smembers(f"{DEFAULT_PREFIX}workers")
    return set(names)


def test_a_worker_that_sleeps_through_its_lease(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    """It wakes with answers to what others have long asked again, and must record none of them."""
    for engine in engines:
        engine.latency_s = UNHURRIED_S
    asleep = start(workers, engines, max_in_flight=8)
    run_id = stack.submit(24)
    stack.wait_utterances(run_id, 16)
    assert asleep.popen is not None
    own = incarnations(stack)
    asleep.popen.send_signal(signal.SIGSTOP)
    try:
        start(workers, engines, max_in_flight=24)
        wait_until(lambda: own.isdisjoint(incarnations(stack)), what="its conversations are given to others")
        set_hung(engines, is_hung=True)
        asleep.popen.send_signal(signal.SIGCONT)
        wait_until(lambda: "lease_lost" in asleep.log.read_text(), what="it sees that its lease is over")
    finally:
        asleep.popen.send_signal(signal.SIGCONT)
        set_hung(engines, is_hung=False)
    stack.check_completed(run_id)
    assert 0 < repeats(*engines) <= 8


def set_hung(engines: tuple[FakeEngine, FakeEngine], *, is_hung: bool) -> None:
    for engine in engines:
        engine.is_hung = is_hung


def test_stop_phrases_end_conversations_but_not_too_early(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    endings = {"stop_phrases": ["River BOAT", "soup"], "min_turns": 3}
    run_id = stack.submit(30, endings=endings, retries={"regenerations": 50})
    stack.api.wait_completed(run_id)
    records = stack.records(run_id)
    reasons = {record["termination_reason"] for record in records}
    assert reasons == {"stop_phrase", "turn_limit"}
    for record in records:
        said = [turn["value"] for turn in record["conversations"] if turn["from"] == "human"]
        assert not any("soup" in text.split() or "river boat" in text for text in said)
    assert min(len(record["turns"]) for record in records) == 2, "the third utterance may end a conversation"
    again = {
        position
        for record in records
        for position, turn in enumerate(record["turns"])
        if turn["sampling_seed"] != sampling_seed(0, record["index"], position)
    }
    assert again == {0}, "openings with a phrase were made again, later utterances were not"


def test_repeats_of_seeds(stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]) -> None:
    start(workers, engines)
    seeds = [{"question": f"Question {number}?", "line": number} for number in (1, 2, 3)]
    run_id = stack.submit(14, seeds=seeds, seed_mode="question", repeats=2)
    assert stack.api.wait_completed(run_id)["committed"] == 14
    records = stack.records(run_id)
    assert [record["seed_line"] for record in records] == [1, 1, 2, 2, 3, 3, 1, 1, 2, 2, 3, 3, 1, 1]
    assert [record["conversations"][0]["value"] for record in records] == [
        f"Question {record['seed_line']}?" for record in records
    ]
    answers = {record["conversations"][1]["value"] for record in records}
    assert len(answers) == 14, "each repeat is a conversation of its own"


def test_an_intent_is_told_to_the_simulator_alone(
    stack: SmallStack, workers: Workers, engines: tuple[FakeEngine, FakeEngine]
) -> None:
    start(workers, engines)
    seeds = [
        {"intent": "You want to plan a party.", "persona": "You are a baker."},
        {"intent": "You want to sell a boat."},
    ]
    told = ["Be brief. You are a baker. You want to plan a party.", "Be brief. You want to sell a boat."]
    run_id = stack.submit(
        4, seeds=seeds, seed_mode="intent", simulator={"profile": "socratic", "system_prompt": "Be brief."}
    )
    assert stack.api.wait_completed(run_id)["committed"] == 4
    records = stack.records(run_id)
    assert [record["simulator"]["system_prompt"] for record in records] == told * 2
    assert [record["respondent"]["system_prompt"] for record in records] == [None] * 4
    assert {(record["turns"][0]["role"], record["turns"][1]["role"]) for record in records} == {(USER, ASSISTANT)}
    assert {len(record["turns"]) for record in records} == {MAX_TURNS}
    simulator, respondent = map(text_of, engines)
    assert [simulator.count(text) for text in told] == [2 * MAX_TURNS // 2] * 2
    assert not any(part in respondent for part in ("Be brief", "baker", "party", "sell"))
