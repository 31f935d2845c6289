"""Carries one claimed conversation from where the queue has it to its end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from redis.exceptions import BusyLoadingError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason, ending_of
from platolm.errors import SpeakerError
from platolm.runs import RunSpec, Seed, sampling_seed
from platolm.speakers import TokenSpeaker, Utterance
from services.orchestrator.conversations.state import ConversationState, RecordedTurn, restore
from services.orchestrator.queue import Claim, Outcome, Queue, Written
from services.orchestrator.replicas import Placement, ReplicaPool

T = TypeVar("T")

logger = structlog.get_logger(__name__)

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 10.0

REDIS_AWAY = (RedisConnectionError, RedisTimeoutError, BusyLoadingError, ConnectionError)
"""What redis-py raises while Redis restarts: every script may be sent again, its token makes that safe."""


class StaleClaimError(Exception):
    """The conversation is somebody else's, or has ended: stop, and write nothing."""


@dataclass(frozen=True)
class RunnerSettings:
    retry_for_s: float


def retry_delay_s(attempt: int, retry_after_s: float | None = None) -> float:
    """Seconds to wait after attempt number `attempt` (from 0): exponential with jitter, or what was asked for."""
    if retry_after_s is not None:
        return min(retry_after_s, LONGEST_RETRY_S)
    return random.uniform(0.5, 1.0) * min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0**attempt)


class ConversationRunner:
    """One conversation of a worker.

    `stopping` is set when the worker drains: the utterance in flight is still recorded, then the conversation is
    given back.
    """

    def __init__(
        self,
        claim: Claim,
        spec: RunSpec,
        *,
        queue: Queue,
        sides: Mapping[str, TokenSpeaker],
        pools: Mapping[str, ReplicaPool],
        settings: RunnerSettings,
        stopping: asyncio.Event,
    ) -> None:
        self._claim = claim
        self._queue = queue
        self._pools = pools
        self._settings = settings
        self._stopping = stopping
        self._placements: dict[str, Placement] = {}
        self._log = logger.bind(run_id=claim.run_id, conversation_id=claim.conversation_id)
        self.state = ConversationState(
            id=claim.conversation_id,
            run_id=claim.run_id,
            index=claim.index,
            spec=spec,
            seed=Seed.model_validate_json(claim.seed),
            sides=sides,
        )

    async def run(self) -> None:
        """Speak in turns until an ending, then finish. Errors end here, at the job's boundary; the queue counts."""
        try:
            restore(self.state, self._claim.turns)
            reason = await self._converse()
            if reason is None:
                await self.release()
            else:
                await self._finish(reason)
        except StaleClaimError:
            self._log.info("conversation_lost")
        except SpeakerError as error:
            await self._fail(str(error))
        except Exception as error:
            self._log.exception("conversation_failed")
            await self._fail(f"{type(error).__name__}: {error}")
        finally:
            self._leave_replicas()

    async def release(self) -> None:
        """Give the conversation back to the queue as it is."""
        await redis_patiently(lambda: self._queue.release(self._claim.conversation_id, self._claim.token))

    async def _converse(self) -> TerminationReason | None:
        """Until an ending; None where the worker stops first."""
        if not self.state.turns:
            for turn in self.state.seed_turns():
                await self._append(turn)
        while True:
            reason = ending_of(self.state.turns, self.state.spec.endings)
            if reason is not None:
                return reason
            if self._stopping.is_set():
                return None
            role = self.state.next_role
            prompt = self.state.prompt(role)
            if self.state.sides[role].room(prompt) < 1:
                return TerminationReason.CONTEXT_FULL
            seed = sampling_seed(self.state.spec.seed, self.state.index, len(self.state.turns))
            utterance = await self._speak(role, prompt, seed)
            await self._append(self.state.generated_turn(role, utterance, seed))

    async def _speak(self, role: str, prompt: list[int], seed: int) -> Utterance:
        """Ask the side's engine, again and elsewhere while it fails in passing.

        Raises:
            SpeakerError: refused for good, or failing for longer than `retry_for_s`.
        """
        deadline = time.monotonic() + self._settings.retry_for_s
        attempt = 0
        while True:
            try:
                placement = self._placement(role)
                return await self.state.sides[role].speak(placement.replica.engine, prompt, seed=seed)
            except SpeakerError as error:
                delay = retry_delay_s(attempt, error.retry_after_s)
                if not error.retryable or time.monotonic() + delay > deadline:
                    raise
                self._log.warning("utterance_retried", role=role, attempt=attempt, error=str(error))
                if error.status is None:
                    self._leave_replica(role, failed=True)
                attempt += 1
                await asyncio.sleep(delay)

    def _placement(self, role: str) -> Placement:
        """The replica of this side, kept from the conversation's first utterance on."""
        placement = self._placements.get(role)
        if placement is None:
            tokens = self.state.sides[role].context_tokens
            placement = self._placements[role] = self._pools[role].place(tokens, spread=self.state.index)
        return placement

    def _leave_replica(self, role: str, *, failed: bool = False) -> None:
        placement = self._placements.pop(role, None)
        if placement is not None:
            self._pools[role].leave(placement, failed=failed)

    def _leave_replicas(self) -> None:
        for role in (USER, ASSISTANT):
            self._leave_replica(role)

    async def _append(self, turn: RecordedTurn) -> None:
        position = len(self.state.turns)
        self.state.add(turn)
        written = await self._append_at(position)
        if written.outcome is Outcome.SHORT:
            await self._append_from(written.length)
        elif written.outcome is not Outcome.OK:
            raise StaleClaimError

    async def _append_from(self, start: int) -> None:
        """Redis came back a moment older: record again what it no longer has."""
        self._log.warning("turns_recorded_again", turn_index=start)
        for position in range(start, len(self.state.turns)):
            written = await self._append_at(position)
            if written.outcome is not Outcome.OK:
                raise StaleClaimError

    async def _append_at(self, position: int) -> Written:
        turn = self.state.turns[position]
        generated = 0 if turn.finish_reason is FinishReason.SEED else turn.num_tokens
        text, event = turn.to_json(), self.state.event(turn, position)
        self._log.debug("utterance", turn_index=position, role=turn.role, content=turn.content)
        return await redis_patiently(
            lambda: self._queue.append(
                self._claim.conversation_id,
                self._claim.token,
                expected=position,
                turn=text,
                generated_tokens=generated,
                event=event,
            )
        )

    async def _finish(self, reason: TerminationReason) -> None:
        record = self.state.record(reason)
        while True:
            written = await redis_patiently(
                lambda: self._queue.finish(
                    self._claim.conversation_id,
                    self._claim.token,
                    expected=len(self.state.turns),
                    record=record,
                    reason=reason,
                )
            )
            if written.outcome is not Outcome.SHORT:
                break
            await self._append_from(written.length)
        self._log.info("conversation_finished", reason=reason.value, turns=len(self.state.turns))

    async def _fail(self, error: str) -> None:
        outcome = await redis_patiently(lambda: self._queue.fail(self._claim.conversation_id, self._claim.token, error))
        self._log.error("conversation_attempt_failed", error=error, outcome=outcome.value)


async def redis_patiently(call: Callable[[], Awaitable[T]]) -> T:
    """Repeat one queue call for as long as Redis is away."""
    attempt = 0
    while True:
        try:
            return await call()
        except REDIS_AWAY as error:
            logger.warning("redis_away", error=str(error), attempt=attempt)
            await asyncio.sleep(retry_delay_s(attempt))
            attempt = min(attempt + 1, 5)
