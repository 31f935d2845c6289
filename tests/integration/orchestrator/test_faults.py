"""Runs under SIGKILL of every process, against fake engines that count what they are asked, on a real Redis."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
)
from tests.redis_server import RedisServer

Start = Callable[..., Process]


@pytest.fixture
def api(redis_server: RedisServer, tmp_path: Path) -> Iterator[Process]:
    process = api_process(tmp_path, redis_server.url, segment_age_s=0.2).start()
    yield process
    process.end()


@pytest.fixture
def start_worker(
    redis_server: RedisServer, tmp_path: Path, simulator: FakeEngine, respondent: FakeEngine
) -> Iterator[Start]:
    started: list[Process] = []

    def start(**settings: object) -> Process:
        settings = {"lease_s": 1.0, **settings}
        process = worker_process(
            tmp_path, redis_server.url, simulator.url, respondent.url, name=f"worker{len(started)}", **settings
        ).start()
        started.append(process)
        return process

    yield start
    for process in started:
        process.end()


def spec(conversations: int, **fields: Any) -> dict[str, Any]:
    return {"spec": {"conversations": conversations, "endings": {"max_turns": 8}, **fields}}


def check_dataset(api: Api, run_id: str, conversations: int) -> list[dict[str, Any]]:
    """Each conversation once, whole, strictly alternating, with nothing dead."""
    progress = api.wait_completed(run_id)
    assert progress["committed"] == progress["finished"] == conversations
    assert progress["dead"] == 0
    records = api.dataset(run_id)
    assert sorted(record["index"] for record in records) == list(range(conversations))
    assert len({record["id"] for record in records}) == conversations
    for record in records:
        names = [turn["from"] for turn in record["conversations"]]
        assert names == ["human", "gpt"] * (len(names) // 2)
        assert record["num_rounds"] == len(names) // 2 > 0
        assert len(record["turns"]) == len(names)
    return records


def wait_committed(api: Api, run_id: str, at_least: int) -> None:
    wait_until(lambda: api.run(run_id)["committed"] >= at_least, what=f"{at_least} commits")


def generated_twice(engine: FakeEngine) -> int:
    """Utterances that the engine finished more than once: an acknowledged one must never be among them."""
    return sum(count - 1 for count in engine.answered.values())


def test_a_run_completes(api: Process, start_worker: Start, simulator: FakeEngine, respondent: FakeEngine) -> None:
    worker = start_worker()
    run_id = api_of(api).submit(spec(40)).json()["id"]
    records = check_dataset(api_of(api), run_id, 40)
    assert all(record["termination_reason"] in ("turn_limit", "repetition") for record in records)
    assert generated_twice(simulator) == generated_twice(respondent) == 0
    assert worker.send(signal.SIGTERM) == 0


def test_the_same_spec_and_seed_give_the_same_dialogues(api: Process, start_worker: Start) -> None:
    start_worker()
    client = api_of(api)
    first, second, other = (client.submit(spec(6, seed=seed)).json()["id"] for seed in (7, 7, 8))
    said = [
        {r["index"]: r["conversations"] for r in check_dataset(client, run_id, 6)} for run_id in (first, second, other)
    ]
    assert said[0] == said[1]
    assert said[0] != said[2]


def test_a_worker_killed_in_mid_run(
    api: Process, start_worker: Start, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 0.1
    victim = start_worker()
    client = api_of(api)
    run_id = client.submit(spec(30)).json()["id"]
    wait_until(lambda: client.run(run_id)["utterances"] > 60, what="utterances")
    victim.kill()
    recorded = client.run(run_id)["utterances"]
    start_worker()
    check_dataset(client, run_id, 30)
    asked_again = sum(count - 1 for engine in (simulator, respondent) for count in engine.requests.values())
    assert recorded > 60
    assert asked_again <= 30, "at most the utterance in flight of each conversation is generated again"


def test_a_worker_that_stops_gives_everything_back(
    api: Process, start_worker: Start, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 0.2
    first = start_worker(lease_s=60.0)
    client = api_of(api)
    run_id = client.submit(spec(20)).json()["id"]
    wait_until(lambda: client.run(run_id)["utterances"] > 20, what="utterances")
    assert first.send(signal.SIGTERM) == 0
    start_worker(lease_s=60.0)
    check_dataset(client, run_id, 20)
    assert generated_twice(simulator) == generated_twice(respondent) == 0


def test_the_api_killed_in_mid_run(
    api: Process, start_worker: Start, redis_server: RedisServer, respondent: FakeEngine
) -> None:
    respondent.latency_s = 0.1
    start_worker()
    client = api_of(api)
    run_id = client.submit(spec(60)).json()["id"]
    for committed in (1, 20):
        wait_committed(client, run_id, committed)
        api.kill()
        api.start()
    check_dataset(client, run_id, 60)


@pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)
def test_redis_killed_in_mid_run(
    api: Process, start_worker: Start, redis_server: RedisServer, respondent: FakeEngine
) -> None:
    respondent.latency_s = 0.1
    start_worker()
    client = api_of(api)
    run_id = client.submit(spec(40)).json()["id"]
    wait_until(lambda: client.run(run_id)["utterances"] > 60, what="utterances")
    redis_server.kill()
    redis_server.start()
    check_dataset(client, run_id, 40)


def test_engines_that_fail_in_passing_cost_no_conversation(
    api: Process, start_worker: Start, simulator: FakeEngine
) -> None:
    start_worker()
    simulator.failures = 25
    client = api_of(api)
    check_dataset(client, client.submit(spec(10)).json()["id"], 10)


def test_half_an_answer_of_an_engine_that_stops_is_asked_for_again(
    api: Process, start_worker: Start, simulator: FakeEngine
) -> None:
    client = api_of(api)
    start_worker()
    whole = check_dataset(client, client.submit(spec(10)).json()["id"], 10)
    simulator.aborts = 15
    halved = check_dataset(client, client.submit(spec(10)).json()["id"], 10)
    assert simulator.aborts == 0
    said = [{record["index"]: record["conversations"] for record in records} for records in (halved, whole)]
    assert said[0] == said[1]


def test_an_engine_that_refuses_makes_dead_letters(api: Process, start_worker: Start, simulator: FakeEngine) -> None:
    start_worker()
    simulator.failures, simulator.failure_status = 6, 400
    client = api_of(api)
    run_id = client.submit(spec(2, max_attempts=3)).json()["id"]
    progress = client.wait_completed(run_id)
    assert (progress["dead"], progress["finished"]) == (2, 0)
    [first, _] = [letter["error"] for letter in client.dead(run_id)]
    assert "made to fail" in first


def test_seeds(api: Process, start_worker: Start) -> None:
    start_worker()
    client = api_of(api)
    seeds = [{"question": f"Question {i}?", "answer": f"Answer {i}.", "line": i} for i in (1, 2)]
    too_long = {"question": "x" * 2000, "line": 3}
    question = client.submit({**spec(4, seed_mode="question"), "seeds": [*seeds, too_long]}).json()
    assert "lines 3" in question["warnings"][-1]
    for record in check_dataset(client, question["id"], 4):
        given = seeds[record["index"] % 2]
        assert record["conversations"][0]["value"] == given["question"]
        assert record["conversations"][1]["value"] != given["answer"]
        assert (record["turns"][0]["finish_reason"], record["seed_line"]) == ("seed", given["line"])
    exchange = client.submit({**spec(2, seed_mode="exchange"), "seeds": seeds}).json()
    for record in check_dataset(client, exchange["id"], 2):
        assert record["conversations"][1]["value"] == seeds[record["index"]]["answer"]


def test_requests_that_cannot_be_run(api: Process, start_worker: Start) -> None:
    start_worker()
    client = api_of(api)
    assert client.submit(spec(0)).status_code == 422
    assert client.submit(spec(1, seed_mode="question")).status_code == 422
    assert client.submit({**spec(1), "seeds": [{"question": "q"}]}).status_code == 422
    too_long = client.submit({**spec(1, seed_mode="question"), "seeds": [{"question": "x" * 2000}]})
    assert (too_long.status_code, "room" in too_long.text or "answer" in too_long.text) == (422, True)
    assert client.submit(spec(1), **{"Idempotency-Key": "k"}).status_code == 201
    assert client.submit(spec(1), **{"Idempotency-Key": "k"}).status_code == 200
    assert client.submit(spec(2), **{"Idempotency-Key": "k"}).status_code == 409


def test_hundreds_of_conversations_in_flight(
    api: Process, start_worker: Start, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    simulator.latency_s = respondent.latency_s = 1.0
    start_worker(max_in_flight=300)
    client = api_of(api)
    run_id = client.submit(spec(300, endings={"max_turns": 4})).json()["id"]
    check_dataset(client, run_id, 300)
    assert simulator.most_in_flight + respondent.most_in_flight >= 300
