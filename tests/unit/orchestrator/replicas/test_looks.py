"""Looks at engines."""

from __future__ import annotations

import asyncio

import pytest

from platolm.errors import MisconfiguredError, SpeakerError
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.errors import HungEngineError
from services.orchestrator.engines.replicas import MISSES_ALLOWED, REFUSED_FOR_S, Replicas
from tests.unit.orchestrator.replicas.engines import HANG_AFTER_S, LOST, A, B, waiting
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import NEVER, Never, StubEngines


async def test_a_look_takes_in_what_the_engine_says(replicas: Replicas, engines: StubEngines) -> None:
    engines.metrics[A] = (
        "vllm:num_requests_running{} 3\nvllm:iteration_tokens_total_count{} 7\n"
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="10"} 1\n'
    )
    await replicas.watch([A])
    assert replicas.get(A).reading == EngineReading(160, 16, 7.0, 3, 0)


@pytest.mark.parametrize("failure", [LOST, NEVER], ids=["refuses", "stalls"])
async def test_one_missed_look_is_borne_and_two_are_not(
    replicas: Replicas,
    engines: StubEngines,
    failure: SpeakerError | Never,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.01)
    usable = []
    answers: list[str | SpeakerError | Never] = ["", failure, "", failure, failure, failure, ""]
    for answer in answers:
        engines.metrics[A] = answer
        await replicas.watch([A])
        usable.append(replicas.get(A).is_usable(clock.now))
    assert MISSES_ALLOWED == 2
    assert usable == [True, True, True, True, False, False, True]


async def test_one_that_never_answered_is_not_borne(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    assert replicas.get(A).is_usable(clock.now), "nothing is known yet"
    engines.metrics[A] = LOST
    await replicas.watch([A])
    assert not replicas.get(A).is_usable(clock.now)
    clock.now += 10 * REFUSED_FOR_S
    assert not replicas.get(A).is_usable(clock.now), "time alone is no answer"
    engines.metrics[A] = ""
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_one_that_stays_away_is_passed_over_until_it_answers(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    """A look that stalls takes longer, with the pause before it, than a refusal lasts."""
    await replicas.watch([A])
    engines.metrics[A] = LOST
    for _ in range(MISSES_ALLOWED):
        await replicas.watch([A])
    clock.now += 2 * REFUSED_FOR_S
    assert not replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = ""
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_an_engine_that_failed_is_used_again_when_it_answers(replicas: Replicas, clock: StoppedClock) -> None:
    replicas.get(A).refuse()
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_an_engine_without_metrics_answers_too(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    engines.metrics[A] = LOST
    for _ in range(MISSES_ALLOWED):
        await replicas.watch([A])
    assert not replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = MisconfiguredError("no such path", status=404)
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = LOST
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now), "the misses before do not count any more"


async def test_a_look_finds_a_hang(replicas: Replicas, engines: StubEngines, clock: StoppedClock) -> None:
    engines.metrics[A] = "vllm:num_requests_running{} 1\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    [task] = await waiting(replicas.get(A))
    clock.now += HANG_AFTER_S
    await replicas.watch([A])
    with pytest.raises(HungEngineError):
        await task
    assert not replicas.get(A).is_usable(clock.now)


async def test_looks_that_did_not_come_through_are_no_hang(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    engines.metrics[A] = "vllm:num_requests_running{} 0\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    engines.metrics[A] = LOST
    await replicas.watch([A])
    clock.now += 10 * HANG_AFTER_S
    engines.metrics[A] = "vllm:num_requests_running{} 4\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    [task] = await waiting(replicas.get(A))
    assert replicas.get(A).is_usable(clock.now)
    clock.now += HANG_AFTER_S - 0.1
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)
    task.cancel()


async def test_a_slow_engine_does_not_hold_up_the_others(
    replicas: Replicas, engines: StubEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.05)
    engines.metrics = {A: NEVER, B: "vllm:num_requests_running{} 2"}
    await replicas.watch([A, B])
    assert (replicas.get(A).misses, replicas.get(B).reading.running) == (1, 2)


async def test_an_engine_that_is_waited_for_is_not_forgotten(replicas: Replicas) -> None:
    kept = {url: replicas.get(url) for url in (A, B)}
    [task] = await waiting(kept[A])
    replicas.forget(set())
    assert list(replicas) == [kept[A]]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    replicas.forget({A})
    assert list(replicas) == [kept[A]]
    replicas.forget(set())
    assert list(replicas) == []
