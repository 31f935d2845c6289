"""What the queue says of a claim, and a worker that stops."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.dyadic import SOCRATIC, prompt_ids
from platolm.errors import SpeakerError
from platolm.runs import RunState
from platolm.spec import Endings
from platolm.tokenizer import HubTokenizer
from tests.unit.orchestrator.runner.stage import RESPONDENT, SIMULATOR, Stage, until
from tests.unit.orchestrator.stub_engines import NEVER
from tests.unit.orchestrator.stub_queue import StubQueue


def lose_claim(queue: StubQueue) -> None:
    queue.token = "other"


def be(state: RunState) -> Callable[[StubQueue], None]:
    def happen(queue: StubQueue) -> None:
        queue.state = state

    return happen


def forget(num_turns: int) -> Callable[[StubQueue], None]:
    """Redis comes back a moment older."""

    def happen(queue: StubQueue) -> None:
        del queue.turns[-num_turns:]

    return happen


async def test_a_lost_claim_stops_it_and_writes_nothing_more(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, lose_claim]
    await stage.run()
    assert stage.queue.done == ["append 0", "append 1"]
    assert stage.queue.contents() == ["Q"]


@pytest.mark.parametrize(
    ("script", "done"),
    [
        # Utterances that Redis lost are recorded again from memory, those that it has are not.
        ([None, None, forget(1)], ["append 0", "append 1", "append 2", "append 1", "append 2", "append 3", "finish 4"]),
        (
            [None, None, forget(2)],
            ["append 0", "append 1", "append 2", "append 0", "append 1", "append 2", "append 3", "finish 4"],
        ),
        ([None] * 4 + [forget(1)], [*(f"append {i}" for i in range(4)), "finish 4", "append 3", "finish 4"]),
        (
            [None] * 4 + [forget(4)],
            [*(f"append {i}" for i in range(4)), "finish 4", *(f"append {i}" for i in range(4)), "finish 4"],
        ),
        # Once more while it is being repaired.
        (
            [None] * 4 + [forget(1), None, forget(1)],
            [*(f"append {i}" for i in range(4)), "finish 4", "append 3", "finish 4", "append 3", "finish 4"],
        ),
    ],
)
async def test_what_redis_lost_is_recorded_again(stage: Stage, script: list[Any], done: list[str]) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    stage.queue.script = script
    await stage.run()
    assert stage.queue.done == done
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.finished is not None
    assert len(stage.engines.asked) == 4, "nothing is generated twice"


async def test_a_claim_that_is_lost_while_it_repairs_stops_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, None, forget(1), lose_claim]
    await stage.run()
    assert stage.queue.done == ["append 0", "append 1", "append 2", "append 1"]


@pytest.mark.parametrize("error", [RedisConnectionError("away"), ConnectionResetError("reset")])
async def test_redis_may_be_away_at_any_call(stage: Stage, error: Exception) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    stage.queue.script = [error, error, None, None, error, None, None, error]
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.finished is not None
    assert len(stage.engines.asked) == 4


async def test_a_cancelled_run_is_left(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [be(RunState.CANCELLING)]
    await stage.run()
    assert stage.queue.done == ["append 0"]


async def test_a_paused_run_gets_its_conversation_back_after_the_utterance(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [be(RunState.PAUSED)]
    await stage.run()
    assert stage.queue.done == ["append 0", "release"]
    assert stage.queue.contents() == ["Q"]


async def test_one_that_has_ended_is_finished_though_its_run_is_paused(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, be(RunState.PAUSED)]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "append 1", "finish 2"]


async def test_the_utterance_in_flight_is_recorded_before_it_is_given_back(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.queue.script = [lambda _: stage.stopping.set()]
    await stage.run()
    assert stage.queue.done == ["append 0", "release"]
    assert stage.queue.contents() == ["Q"]


async def test_one_that_ends_with_the_worker_is_finished(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    stage.queue.script = [None, lambda _: stage.stopping.set()]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "append 1", "finish 2"]


async def test_a_worker_that_stops_does_not_sit_out_a_pause(stage: Stage) -> None:
    stage.answers(SIMULATOR, SpeakerError("busy", status=429, retryable=True, retry_after_s=500.0))
    running = asyncio.create_task(stage.run())
    await until(lambda: stage.counted("utterance_retries_total", side="simulator", cause="busy") == 1)
    stage.stopping.set()
    await running
    assert stage.queue.done == ["release"]


async def test_a_cancellation_writes_nothing(stage: Stage) -> None:
    stage.answers(SIMULATOR, NEVER)
    running = asyncio.create_task(stage.runner().run())
    replica = stage.pools.replicas.get(SIMULATOR)
    await until(lambda: bool(replica.speaking))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert stage.queue.done == []
    assert replica.speaking == set()


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("ends", [True, False], ids=["stop", "length"])
async def test_what_an_engine_found_in_its_cache_is_held_against_what_it_can_have(
    stage: Stage, tokenizer: HubTokenizer, ends: bool, over: int
) -> None:
    """`over` is how many tokens it saw beyond those whose last makes a block full: the last one is not computed."""
    stage.engines.metrics[SIMULATOR] = 'vllm:cache_config_info{block_size="16",num_gpu_blocks="100"} 1'
    await stage.pools.replicas.watch([SIMULATOR])
    opening = len(prompt_ids([], SOCRATIC, tokenizer))
    blocks = opening // 16 + 2
    text = "abcdefghijklmnopqrstuvwxyz0123456789"[: 16 * blocks + over - opening - ends]
    first, second = stage.said(text, ends=ends), stage.said("R")
    stage.answers(SIMULATOR, replace(first, num_cached_tokens=32), replace(second, num_cached_tokens=10**6))
    stage.answers(RESPONDENT, "A", "B")
    await stage.run()
    attainable = 16 * (blocks if over else blocks - 1)
    counted = {
        name: stage.counted(f"{name}_cached_tokens_total", side="simulator") for name in ("attained", "attainable")
    }
    assert counted == {"attained": attainable, "attainable": attainable}
    assert stage.counted("cached_prompt_tokens_total", side="simulator") == 32 + 10**6
