"""Engines that hang, die, come late or are small, while workers and their runs go on."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import redis

from platolm.spec import RunSpec
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from tests.fakes.engine import FakeEngine
from tests.fakes.engine_process import EngineProcess, Settings
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.small_stack import (
    MAX_IN_FLIGHT,
    MAX_TURNS,
    SmallStack,
    Workers,
    answered_twice,
    asked_where,
    repeats,
)
from tests.redis_server import free_port

LATENCY_S = 0.1
SECONDS = 4.0
"""What "within seconds" is for a replica that comes: looks for replicas are 0.3 s apart here."""


@pytest.fixture
def simulators(byte_tokenizer_folder: Path, tmp_path: Path) -> Iterator[Callable[[int], list[EngineProcess]]]:
    """Engines that can be killed; none of them runs yet."""
    with ExitStack() as ending:

        def make(count: int) -> list[EngineProcess]:
            engines = []
            for number in range(count):
                engine = EngineProcess(
                    byte_tokenizer_folder, "socratic", tmp_path / f"simulator{number}.requests", Settings(LATENCY_S)
                )
                engine.log.touch()
                engine.url = f"http://127.0.0.1:{free_port()}/v1"
                ending.callback(engine.stop)
                engines.append(engine)
            return engines

        yield make


def spec_of(stack: SmallStack, run_id: str) -> RunSpec:
    return RunSpec.model_validate(stack.api.run(run_id)["spec"])


def check_pinned(where: dict[int, list[str]], lost: str, left: str) -> None:
    """The lost replica's conversations go on at the other and stay there, the other's never leave it."""
    for index, urls in where.items():
        told = [url for url, _ in itertools.groupby(urls)]
        assert told in ([left], [lost, left], [lost]), f"conversation {index}: {told}"


def test_a_hung_engine_is_left(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, byte_tokenizer_folder: Path
) -> None:
    with FakeEngine(byte_tokenizer_folder, "socratic").running() as hanging:
        simulator.latency_s = hanging.latency_s = respondent.latency_s = LATENCY_S
        workers.start([simulator, hanging], [respondent], hang_after_s=1)
        run_id = stack.submit(MAX_IN_FLIGHT)
        stack.wait_utterances(run_id, MAX_IN_FLIGHT)
        hanging.is_hung = True
        stack.check_completed(run_id)
        check_pinned(asked_where(spec_of(stack, run_id), [simulator, hanging]), hanging.url, simulator.url)
        left_hanging = hanging.requests.total() - hanging.answered.total()
        assert 0 < left_hanging <= MAX_IN_FLIGHT / 2, "as many as were placed there"
        assert answered_twice(simulator, hanging, respondent) == repeats(respondent) == 0
        hanging.is_hung = False


def test_a_replica_is_killed(
    stack: SmallStack,
    workers: Workers,
    simulators: Callable[[int], list[EngineProcess]],
    respondent: FakeEngine,
) -> None:
    victim, other = simulators(2)
    victim.start()
    other.start()
    respondent.latency_s = LATENCY_S
    workers.start([victim, other], [respondent])
    run_id = stack.submit(MAX_IN_FLIGHT)
    stack.wait_utterances(run_id, 2 * MAX_IN_FLIGHT)
    victim.kill()
    stack.check_completed(run_id)
    where = asked_where(spec_of(stack, run_id), [victim, other])
    check_pinned(where, victim.url, other.url)
    assert [urls[0] for urls in where.values()].count(victim.url) == MAX_IN_FLIGHT / 2
    asked = len(victim.asked()) + len(other.asked())
    assert asked - MAX_IN_FLIGHT * MAX_TURNS // 2 <= MAX_IN_FLIGHT // 2, "one utterance each of what it had in flight"


def test_a_replica_that_comes_is_used_within_seconds(
    stack: SmallStack,
    workers: Workers,
    simulators: Callable[[int], list[EngineProcess]],
    respondent: FakeEngine,
) -> None:
    first, second, late = simulators(3)
    first.start()
    second.start()
    workers.start([first, second, late], [respondent], max_in_flight=6)
    run_id = stack.submit(90, endings={"max_turns": 4})
    stack.wait_utterances(run_id, 40)
    late.start()
    began = time.monotonic()
    wait_until(late.asked, what="a request to the replica that came", timeout_s=SECONDS)
    assert late.asked()[0].at - began < SECONDS
    stack.check_completed(run_id)
    where = asked_where(spec_of(stack, run_id), [first, second, late])
    assert all(len(set(urls)) == 1 for urls in where.values()), "nobody moves because another replica came"
    assert [urls[0] for urls in where.values()].count(late.url) >= 10, "a third of those that were left, or nearly"


def test_a_run_waits_for_engines_and_goes_on_by_itself(
    stack: SmallStack,
    workers: Workers,
    simulators: Callable[[int], list[EngineProcess]],
    respondent: FakeEngine,
) -> None:
    [engine] = simulators(1)
    engine.start()
    respondent.latency_s = LATENCY_S
    workers.start([engine], [respondent], engines_patience_s=1)
    run_id = stack.submit(MAX_IN_FLIGHT)
    stack.wait_utterances(run_id, MAX_IN_FLIGHT)
    engine.kill()
    assert stack.wait_paused(run_id, "engines") == f"no engine of the simulator answers at {engine.url}"
    stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    assert stack.api.dead(run_id) == []
    engine.start()
    stack.check_completed(run_id)
    assert answered_twice(respondent) == 0


def test_conversations_in_flight_stay_within_the_caches(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, byte_tokenizer_folder: Path
) -> None:
    with FakeEngine(byte_tokenizer_folder, "socratic", kv_tokens=3 * 640).running() as larger:
        simulator.kv_tokens = 2 * 640 + 16
        simulator.latency_s = larger.latency_s = respondent.latency_s = 3 * LATENCY_S
        workers.start([simulator, larger], [respondent])
        run_id = stack.submit(12, endings={"context_tokens": 640})
        reserved = watch_reserved(stack, run_id)
        stack.check_completed(run_id)
        assert max(reserved[simulator.url]) <= simulator.kv_tokens
        assert max(reserved[larger.url]) <= larger.kv_tokens
        assert (reserved[simulator.url][0], reserved[larger.url][0]) == (2 * 640, 3 * 640), "as many as have room"
        assert reserved_now(stack) == {}


def watch_reserved(stack: SmallStack, run_id: str) -> dict[str, list[int]]:
    """Tokens that the queue held for each replica, seen again and again from the first utterance to the run's end.

    Until the first conversation has ended, five are in flight: what has room with the context that each may take.
    """
    stack.wait_utterances(run_id, 5)
    seen: dict[str, list[int]] = {url: [] for url in reserved_now(stack)}

    def is_over() -> bool:
        now, progress = reserved_now(stack), stack.api.run(run_id)
        for url, tokens in seen.items():
            tokens.append(now.get(url, 0))
        if progress["finished"] == 0:
            assert progress["in_flight"] == 5
        return bool(progress["state"] == "completed")

    wait_until(is_over, what="run completed")
    return seen


def reserved_now(stack: SmallStack) -> dict[str, int]:
    with redis.Redis.from_url(stack.redis.url, decode_responses=True) as client:
        reserved: Any = client.hgetall(DEFAULT_PREFIX + KEYS["reserved"])
    return {url: int(tokens) for url, tokens in reserved.items()}
