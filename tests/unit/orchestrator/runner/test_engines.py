"""Engines that fail, go away or are busy: what becomes of a conversation."""

from __future__ import annotations

import asyncio
import time

import pytest

from platolm.conversation import ASSISTANT
from platolm.errors import MisconfiguredError, SpeakerError
from platolm.runs import PausedBy
from platolm.spec import Endings, Retries, sampling_seed
from services.orchestrator.queue import Outcome
from tests.unit.orchestrator.runner.stage import (
    AWAY,
    BROKEN,
    BUSY,
    LATE,
    LOST,
    OTHER,
    RESPONDENT,
    SIMULATOR,
    UNREADABLE,
    Stage,
    until,
)
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import NEVER


async def test_an_engine_that_fails_in_passing_is_asked_again_with_the_same_seed(stage: Stage) -> None:
    stage.answers(SIMULATOR, BROKEN, BUSY, "Q", "R")
    stage.answers(RESPONDENT, AWAY, "A", "B")
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.asked()[:3] == [(SIMULATOR, sampling_seed(0, 7, 0))] * 3
    assert stage.asked()[3:5] == [(RESPONDENT, sampling_seed(0, 7, 1))] * 2
    causes = {
        (side, cause): stage.counted("utterance_retries_total", side=side, cause=cause)
        for side, cause in [("simulator", "server_error"), ("simulator", "busy"), ("respondent", "no_answer")]
    }
    assert set(causes.values()) == {1.0}


@pytest.mark.parametrize(
    ("failures", "is_passed_over"),
    [
        ([AWAY, AWAY], True),
        ([BUSY, AWAY], True),
        ([BROKEN, BROKEN, BROKEN], False),
        ([LATE, UNREADABLE, BROKEN], False),
    ],
)
async def test_it_leaves_a_replica_that_stays_bad_and_keeps_to_the_next(
    stage: Stage, failures: list[Exception], is_passed_over: bool
) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, *failures)
    stage.answers(OTHER, "A", "B")
    stage.queue.places = [OTHER]
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.place_calls == [(ASSISTANT, [OTHER])]
    assert [url for url, _ in stage.asked() if url != SIMULATOR] == [RESPONDENT] * len(failures) + [OTHER, OTHER]
    passed_over = {replica.url for replica in stage.pools.replicas if not replica.is_usable(time.monotonic())}
    assert passed_over == ({RESPONDENT} if is_passed_over else set())


async def test_it_leaves_an_engine_that_hangs_at_once(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, NEVER)
    stage.answers(OTHER, "A", "B")
    stage.queue.losses, stage.queue.places = [1], [OTHER]
    running = asyncio.create_task(stage.run())
    replica = stage.pools.replicas.get(RESPONDENT)
    await until(lambda: bool(replica.speaking))
    replica.abandon()
    await running
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert [url for url, _ in stage.asked()] == [SIMULATOR, RESPONDENT, OTHER, SIMULATOR, OTHER]


async def test_with_no_other_replica_it_waits_in_the_queue(stage: Stage) -> None:
    stage.answers(SIMULATOR, AWAY, AWAY)
    await stage.run()
    assert stage.queue.done == ["release"]


@pytest.fixture
def suspense(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long waits for being suspect may have been; none is waited for."""
    bounds: list[float] = []

    def uniform(low: float, high: float) -> float:
        bounds.append(high)
        return 0.0

    monkeypatch.setattr("services.orchestrator.conversations.retries.random.uniform", uniform)
    return bounds


@pytest.mark.parametrize("failures", [[LOST, AWAY], [LOST, LOST], [AWAY, LOST], [BROKEN, AWAY]])
async def test_an_engine_that_goes_away_with_its_request_is_counted(
    stage: Stage, suspense: list[float], failures: list[Exception]
) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, *failures)
    stage.answers(OTHER, "A")
    stage.queue.losses, stage.queue.places = [3], [OTHER]
    await stage.run(endings=Endings(max_turns=2))
    assert stage.queue.done == ["append 0", "lose_engine", "place", "append 1", "finish 2"]
    assert 2.0**2 in suspense


async def test_one_that_was_not_there_is_not_counted(stage: Stage) -> None:
    stage.answers(SIMULATOR, AWAY, AWAY)
    await stage.run()
    assert stage.queue.done == ["release"]


async def test_one_that_was_at_many_lost_engines_waits_first(stage: Stage, suspense: list[float]) -> None:
    stage.lost_engines = 4
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, "A")
    await stage.run(endings=Endings(max_turns=2))
    assert suspense == [2.0**3]


@pytest.mark.parametrize(("outcome", "dead"), [(Outcome.DEAD, 1), (Outcome.STALE, 0)])
async def test_too_many_lost_engines_end_it(stage: Stage, suspense: list[float], outcome: Outcome, dead: int) -> None:
    stage.answers(SIMULATOR, LOST, LOST)
    stage.queue.losses = [outcome]
    await stage.run()
    assert (stage.queue.done, stage.queue.error) == (["lose_engine"], "was reset")
    assert stage.counted("conversations_dead_total") == dead


async def test_a_busy_engine_keeps_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, *[BUSY] * 20, "A", "B")
    await stage.run()
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.place_calls == []


FAILING = pytest.mark.parametrize("failure", [BROKEN, UNREADABLE, LATE], ids=["500", "not JSON", "late"])


@pytest.fixture
def clock(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    """Each answer takes a second, and nothing else any time."""
    stage.engines.clock = stopped = StoppedClock()
    stopped.now = 1000.0
    monkeypatch.setattr("services.orchestrator.conversations.runner.time", stopped)
    return stopped


@FAILING
async def test_an_engine_that_answers_and_only_fails_costs_an_attempt(
    stage: Stage, clock: StoppedClock, failure: SpeakerError
) -> None:
    """Back in the queue, it would be handed out for the same engine for ever: its metrics answer."""
    stage.engines.always[SIMULATOR] = failure
    await stage.run(retries=Retries(utterance_for_s=60))
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == str(failure)
    assert clock.now == 1000.0 + 60 + 1
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 0))] * 61
    assert stage.pools.replicas.get(SIMULATOR).is_usable(time.monotonic())
    assert stage.counted("attempts_failed_total") == 1


@FAILING
async def test_two_engines_that_only_fail_cost_an_attempt_and_stay_for_others(
    stage: Stage, clock: StoppedClock, failure: SpeakerError
) -> None:
    """It may be this conversation that they fail at."""
    stage.answers(SIMULATOR, "Q")
    stage.engines.always = {RESPONDENT: failure, OTHER: failure}
    stage.queue.places = [OTHER, RESPONDENT] * 3
    await stage.run(retries=Retries(utterance_for_s=20))
    assert stage.queue.done == ["append 0", *["place"] * 6, "fail"]
    assert stage.queue.error == str(failure)
    asked = [url for url, _ in stage.asked()[1:]]
    assert asked == [*[RESPONDENT] * 3, *[OTHER] * 3] * 3 + [*[RESPONDENT] * 3]
    assert [one.url for one in stage.pools.engines(ASSISTANT, "").usable()] == [RESPONDENT, OTHER]
    assert clock.now == 1000.0 + 1 + 21


@pytest.mark.parametrize("failures", [[AWAY, AWAY], [BROKEN, BROKEN, BROKEN]], ids=["away", "500"])
async def test_a_move_under_a_lost_claim_writes_nothing(stage: Stage, failures: list[Exception]) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, *failures)
    stage.queue.places = [None]
    await stage.run()
    assert stage.queue.done == ["append 0", "place"]


async def test_a_refusal_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Q")
    stage.answers(RESPONDENT, SpeakerError("answered 400: too long", status=400))
    await stage.run()
    assert stage.queue.done == ["append 0", "fail"]
    assert stage.queue.error == "answered 400: too long"
    assert stage.counted("attempts_failed_total") == 1


async def test_an_engine_that_fails_for_too_long_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, BUSY)
    await stage.run(retries=Retries(utterance_for_s=0))
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == "busy"


async def test_what_the_server_asks_for_is_not_waited_for_beyond_the_limit(stage: Stage) -> None:
    stage.answers(SIMULATOR, SpeakerError("busy", status=429, retryable=True, retry_after_s=601.0))
    await stage.run(retries=Retries(utterance_for_s=600))
    assert stage.queue.done == ["fail"]


async def test_another_model_pauses_the_run_and_costs_no_attempt(stage: Stage) -> None:
    stage.answers(SIMULATOR, MisconfiguredError("answered 404: no such model", status=404))
    await stage.run()
    assert stage.queue.done == ["pause run-a", "release"]
    assert stage.queue.pause_reason == (PausedBy.WORKER, "answered 404: no such model")


async def test_a_defect_of_our_own_counts_as_a_failure(stage: Stage) -> None:
    stage.answers(SIMULATOR, ZeroDivisionError("what"))
    await stage.run()
    assert stage.queue.done == ["fail"]
    assert stage.queue.error == "ZeroDivisionError: what"


async def test_turns_that_cannot_be_read_count_as_a_failure(stage: Stage) -> None:
    stage.queue.turns = ["{"]
    await stage.run()
    assert stage.queue.done == ["fail"]
    assert stage.queue.error is not None
    assert stage.queue.error.startswith("JSONDecodeError: ")
