"""What to do when an utterance was not made: ask again, ask elsewhere, wait, or give up."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from platolm.errors import BudgetSpentError, EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from services.orchestrator.engines.errors import HungEngineError, NoReplicaError

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 10.0
FAILURES_BEFORE_MOVING = 3
"""Failures in a row, of a replica that answers, after which a conversation leaves it, and with it its cache."""

_GONE = (EngineAwayError, HungEngineError, NoReplicaError)
_BUSY = frozenset({408, 409, 425, 429})
LONGEST_SUSPENSE_S = 60.0


class NextStep(StrEnum):
    AGAIN = "again"
    LEAVE = "leave"
    """The replica is gone or hung: place the conversation anew, or let it wait in the queue where none is left."""
    ELSEWHERE = "elsewhere"
    """The replica answers, and fails: try another if there is one."""
    PAUSE_RUN = "pause_run"
    """Every conversation of the run would fail alike, or cost what the run may not spend."""
    FAIL = "fail"
    """Count a failed attempt."""


@dataclass(frozen=True)
class Retry:
    step: NextStep
    delay_s: float = 0.0


def plan_retry(error: SpeakerError, *, attempt: int, failures_in_row: int, left_s: float) -> Retry:
    """Decide after failure number `attempt` (from 0) of one utterance.

    Args:
        failures_in_row: failures on this replica since its last answer, this one included.
        left_s: seconds that the utterance may still be tried for; what the server asks for (`Retry-After`) is obeyed as
            long as it fits.
    """
    if isinstance(error, MisconfiguredError | BudgetSpentError):
        return Retry(NextStep.PAUSE_RUN)
    if not error.retryable:
        return Retry(NextStep.FAIL)
    if isinstance(error, _GONE):
        # Once may be an idle connection that the engine had just closed.
        again = attempt == 0 and isinstance(error, EngineAwayError)
        return Retry(NextStep.AGAIN if again else NextStep.LEAVE)
    delay_s = error.retry_after_s if error.retry_after_s is not None else _backoff_s(attempt)
    if delay_s > left_s:
        return Retry(NextStep.FAIL)
    if error.retry_after_s is None and error.status not in _BUSY and failures_in_row >= FAILURES_BEFORE_MOVING:
        return Retry(NextStep.ELSEWHERE, delay_s)
    return Retry(NextStep.AGAIN, delay_s)


def may_have_taken_it_down(error: SpeakerError) -> bool:
    """Whether the engine had the request when this happened, so that it may be what ends the engine."""
    return isinstance(error, EngineLostError | HungEngineError) or (error.status or 0) >= 500


def suspense_s(lost_engines: int) -> float:
    """How long a conversation waits that was at so many engines, in a row, as they went away.

    All that were there have the same count. Random and longer each time, the waits separate them: those that did
    nothing to the engine get on, and are not suspect any more, until the one that ends it is alone with it.
    """
    return 0.0 if lost_engines < 2 else random.uniform(0.0, min(LONGEST_SUSPENSE_S, 2.0 ** (lost_engines - 1)))


def _backoff_s(attempt: int) -> float:
    """Exponential, with jitter."""
    return random.uniform(0.5, 1.0) * min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt, 16))
