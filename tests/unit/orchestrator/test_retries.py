"""What is done when an utterance was not made."""

from __future__ import annotations

import pytest

from platolm.errors import EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from services.orchestrator.conversations.retries import (
    FAILURES_BEFORE_MOVING,
    FIRST_RETRY_S,
    LONGEST_RETRY_S,
    LONGEST_SUSPENSE_S,
    NextStep,
    Retry,
    may_have_taken_it_down,
    plan_retry,
    suspense_s,
)
from services.orchestrator.engines.errors import HungEngineError, NoReplicaError

JITTER = 0.75


@pytest.fixture(autouse=True)
def _middling_jitter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.conversations.retries.random.uniform", lambda low, high: JITTER)


def away() -> SpeakerError:
    return EngineAwayError("did not answer", retryable=True)


def late() -> SpeakerError:
    """Or unreadable: an engine that answers, and fails."""
    return SpeakerError("did not answer in time", retryable=True)


def busy(retry_after_s: float | None = None) -> SpeakerError:
    return SpeakerError("busy", status=429, retryable=True, retry_after_s=retry_after_s)


def broken(retry_after_s: float | None = None, status: int = 500) -> SpeakerError:
    return SpeakerError("broken", status=status, retryable=True, retry_after_s=retry_after_s)


def hung() -> SpeakerError:
    return HungEngineError("hung", retryable=True)


FIRST, SECOND = FIRST_RETRY_S * JITTER, 2 * FIRST_RETRY_S * JITTER
AGAIN, ELSEWHERE = NextStep.AGAIN, NextStep.ELSEWHERE
FAIL, PAUSE_RUN, LEAVE = Retry(NextStep.FAIL), Retry(NextStep.PAUSE_RUN), Retry(NextStep.LEAVE)
LONG = 600.0


@pytest.mark.parametrize(
    ("error", "attempt", "failures_in_row", "left_s", "expected"),
    [
        # What no repetition changes.
        (MisconfiguredError("no such model", status=404), 0, 1, LONG, PAUSE_RUN),
        (MisconfiguredError("no such model", status=404), 0, 1, -1.0, PAUSE_RUN),
        (MisconfiguredError("no token ids"), 9, 9, LONG, PAUSE_RUN),
        (SpeakerError("too long", status=400), 0, 1, LONG, FAIL),
        (SpeakerError("strange"), 0, 1, LONG, FAIL),
        # Nobody there: once may be an idle connection that was just closed, at once; then the replica is left.
        (away(), 0, 1, LONG, Retry(AGAIN, 0.0)),
        (away(), 1, 2, LONG, LEAVE),
        (away(), 1, 1, LONG, LEAVE),
        (away(), 5, 1, LONG, LEAVE),
        (hung(), 0, 1, LONG, LEAVE),
        (hung(), 3, 2, LONG, LEAVE),
        (NoReplicaError("none", retryable=True), 0, 1, LONG, LEAVE),
        # That costs no attempt, however long it was tried for.
        (away(), 0, 1, -0.1, Retry(AGAIN, 0.0)),
        (away(), 1, 2, -0.1, LEAVE),
        (hung(), 0, 1, -0.1, LEAVE),
        # Busy: wait, as long as the server says, and stay, for the cache is there.
        (busy(), 0, 1, LONG, Retry(AGAIN, FIRST)),
        (busy(), 1, 2, LONG, Retry(AGAIN, SECOND)),
        (busy(), 1, 99, LONG, Retry(AGAIN, SECOND)),
        (busy(7.0), 0, 1, LONG, Retry(AGAIN, 7.0)),
        (busy(0.0), 5, 6, LONG, Retry(AGAIN, 0.0)),
        (busy(LONG), 0, 1, LONG, Retry(AGAIN, LONG)),
        (busy(LONG + 1), 0, 1, LONG, FAIL),
        # Failing: wait a little, leave after a few in a row, unless it told when to come back.
        (broken(), 0, 1, LONG, Retry(AGAIN, FIRST)),
        (broken(), 1, FAILURES_BEFORE_MOVING - 1, LONG, Retry(AGAIN, SECOND)),
        (broken(), 1, FAILURES_BEFORE_MOVING, LONG, Retry(ELSEWHERE, SECOND)),
        (broken(), 1, FAILURES_BEFORE_MOVING + 1, LONG, Retry(ELSEWHERE, SECOND)),
        (late(), 0, 1, LONG, Retry(AGAIN, FIRST)),
        (late(), 1, FAILURES_BEFORE_MOVING - 1, LONG, Retry(AGAIN, SECOND)),
        (late(), 1, FAILURES_BEFORE_MOVING, LONG, Retry(ELSEWHERE, SECOND)),
        (broken(3.0, 503), 0, FAILURES_BEFORE_MOVING, LONG, Retry(AGAIN, 3.0)),
        (broken(status=503), 0, FAILURES_BEFORE_MOVING, LONG, Retry(ELSEWHERE, FIRST)),
        # Time is up.
        (broken(), 0, 1, FIRST, Retry(AGAIN, FIRST)),
        (broken(), 0, 1, FIRST - 0.01, FAIL),
        (broken(), 5, FAILURES_BEFORE_MOVING, 0.0, FAIL),
        (busy(0.0), 0, 1, 0.0, Retry(AGAIN, 0.0)),
        (busy(0.0), 0, 1, -0.1, FAIL),
        (late(), 1, FAILURES_BEFORE_MOVING, -0.1, FAIL),
    ],
)
def test_the_next_step(error: SpeakerError, attempt: int, failures_in_row: int, left_s: float, expected: Retry) -> None:
    assert plan_retry(error, attempt=attempt, failures_in_row=failures_in_row, left_s=left_s) == expected


@pytest.mark.parametrize("status", [400, 408, 409, 425, 429, 500, 502, 503, 504, None])
def test_only_a_busy_engine_keeps_a_conversation_however_often_it_fails(status: int | None) -> None:
    error = SpeakerError("failed", status=status, retryable=True)
    step = plan_retry(error, attempt=0, failures_in_row=10**6, left_s=LONG).step
    assert step is (AGAIN if status in (408, 409, 425, 429) else ELSEWHERE)


def test_the_pause_doubles_and_is_bounded() -> None:
    delays = [plan_retry(busy(), attempt=i, failures_in_row=1, left_s=LONG).delay_s for i in (0, 1, 2, 5, 6, 7, 10**6)]
    longest = LONGEST_RETRY_S * JITTER
    assert delays == [FIRST, 2 * FIRST, 4 * FIRST, 32 * FIRST, longest, longest, longest]


def test_pauses_are_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conversations that failed together must not come back together."""
    monkeypatch.undo()
    delays = {plan_retry(busy(), attempt=3, failures_in_row=1, left_s=LONG).delay_s for _ in range(50)}
    assert len(delays) > 25
    assert all(4 * FIRST_RETRY_S <= delay <= 8 * FIRST_RETRY_S for delay in delays)


def lost() -> SpeakerError:
    return EngineLostError("did not answer", retryable=True)


def test_what_an_engine_had_when_it_went_away_may_be_the_reason() -> None:
    assert all(map(may_have_taken_it_down, [lost(), hung(), broken(), broken(status=503)]))
    assert not any(map(may_have_taken_it_down, [away(), late(), busy(), NoReplicaError("none"), SpeakerError("no")]))


def test_a_lost_engine_is_left_like_any_that_is_away() -> None:
    assert plan_retry(lost(), attempt=0, failures_in_row=1, left_s=LONG) == Retry(AGAIN, 0.0)
    assert plan_retry(lost(), attempt=1, failures_in_row=2, left_s=LONG) == LEAVE


def test_one_loss_costs_no_time_and_more_cost_more_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.conversations.retries.random.uniform", lambda low, high: high)
    longest = LONGEST_SUSPENSE_S
    assert [suspense_s(lost) for lost in (0, 1, 2, 3, 6, 7, 10**3)] == [0, 0, 2, 4, 32, longest, longest]
