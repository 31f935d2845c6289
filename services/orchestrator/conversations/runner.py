"""Carries one claimed conversation from where the queue has it to its end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

import structlog

from platolm.conversation import TerminationReason
from platolm.endings import FinishReason, ending_of, should_regenerate
from platolm.engine_client import EngineClient
from platolm.errors import BudgetSpentError, SpeakerError
from platolm.runs import PausedBy, RunState
from platolm.simulators.guardrails import Step, Tries
from platolm.spec import RunSpec, Seed, sampling_seed
from platolm.utterances import GrowingPrompt, Speaker, Utterance
from services.orchestrator.conversations.lease import Lease
from services.orchestrator.conversations.placement import Placement
from services.orchestrator.conversations.retries import NextStep, may_have_taken_it_down, plan_retry, suspense_s
from services.orchestrator.conversations.state import ConversationState, RecordedTurn, restore
from services.orchestrator.conversations.watching import Sight, Watching
from services.orchestrator.crash_points import crash_point
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.engines.replicas import Pools
from services.orchestrator.engines.sides import SIDE_NAMES
from services.orchestrator.metrics.worker import RetryCause, WorkerMetrics
from services.orchestrator.queue import Claim, Outcome, Queue, Written, redis_patiently
from services.tracing import ConversationSpan, Tracing

if TYPE_CHECKING:
    from platolm.chat_apis.api import ChatApi

logger = structlog.get_logger(__name__)


class StaleClaimError(Exception):
    """The conversation is somebody else's, has ended or was cancelled: stop, and write nothing."""


class GiveBackError(Exception):
    """The conversation should wait in the queue: its run pauses, its worker stops, or no engine answers."""


@dataclass(frozen=True)
class Surroundings:
    """What all conversations of a worker share. `stopping` is set when it drains."""

    queue: Queue
    pools: Pools
    metrics: WorkerMetrics
    tracing: Tracing
    watching: Watching
    stopping: asyncio.Event
    lease: Lease


class ConversationRunner:
    """One conversation of a worker.

    When the worker drains or the run pauses, the utterance in flight is still recorded, then the conversation is given
    back.
    """

    def __init__(
        self, claim: Claim, spec: RunSpec, *, sides: Mapping[str, Speaker], surroundings: Surroundings
    ) -> None:
        self._claim = claim
        self._around = surroundings
        self._queue = surroundings.queue
        self._placement = Placement(
            claim, spec, surroundings.queue, surroundings.pools, spoke=lambda role: self.state.api_of(role)
        )
        self._lost_engines = claim.lost_engines
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
            with self._around.tracing.conversation(self.state.run_id, self.state.id, self.state.index) as span:
                reason = await self._converse(span)
                span.tell(termination_reason=reason.value, num_turns=len(self.state.turns))
            await self._finish(reason)
        except StaleClaimError:
            self._log.info("conversation_lost")
        except GiveBackError:
            await self.release()
        except SpeakerError as error:
            await self._fail(str(error))
        except Exception as error:
            self._log.exception("conversation_failed")
            await self._fail(f"{type(error).__name__}: {error}")

    async def release(self) -> None:
        """Give the conversation back to the queue as it is."""
        crash_point("worker.before_release")
        await redis_patiently(lambda: self._queue.release(self._claim.conversation_id, self._claim.token))

    async def _converse(self, span: ConversationSpan) -> TerminationReason:
        """Until an ending."""
        ending = self._ending()  # of the last turn; computed once for each
        while True:
            given = self.state.given_turn()
            reason = None if given is not None and self._is_given_so_far() else self._or_exhausted(ending)
            if reason is not None:
                return reason
            if given is not None:
                await self._append(given)
                ending = self._ending()
                continue
            if self._around.stopping.is_set():
                raise GiveBackError
            role = self.state.next_role
            if self.state.room(role) < 1:
                return TerminationReason.CONTEXT_FULL
            with span.utterance(SIDE_NAMES[role], len(self.state.turns)) as utterance:
                turn, ending = await self._next_turn(role)
                utterance.tell(finish_reason=turn.finish_reason.value, num_tokens=turn.num_tokens)
            await self._append(turn)

    def _is_given_so_far(self) -> bool:
        """Whether the last utterance, if any, is the seed's: what a seed gives in a row is never cut off."""
        turns = self.state.turns
        return not turns or turns[-1].finish_reason is FinishReason.SEED

    def _ending(self) -> TerminationReason | None:
        return ending_of(self.state.turns, self.state.spec.endings)

    def _or_exhausted(self, reason: TerminationReason | None) -> TerminationReason | None:
        is_over = reason in (None, TerminationReason.TURN_LIMIT) and self.state.is_exhausted
        return TerminationReason.SEED_EXHAUSTED if is_over else reason

    async def _next_turn(self, role: str) -> tuple[RecordedTurn, TerminationReason | None]:
        """One utterance, and the ending that it is; None: none.

        It is made again with another seed where it has a fault, or would end the conversation too early.
        """
        spec, turns = self.state.spec, self.state.turns
        prompt = self.state.prompt(role)
        tries = Tries(spec.retries.regenerations)
        for regeneration in count():
            seed = sampling_seed(spec.seed, self.state.index, len(turns), regeneration)
            utterance = await self._speak(role, prompt, seed)
            fault = self.state.fault_of(role, utterance)
            turn = self.state.generated_turn(role, utterance, seed, fault)
            reason = ending_of([*turns, turn], spec.endings)
            step = tries.judge(fault, is_wanted=not should_regenerate(reason, len(turns) + 1, spec.endings))
            if fault is not None:
                self._around.metrics.faulty(SIDE_NAMES[role], fault)
            if step is not Step.RETRY:
                break
            self._around.metrics.retried(SIDE_NAMES[role], RetryCause.REGENERATED)
        return turn.with_faults(list(tries.faults.elements())) if tries.faults else turn, reason

    async def _speak(self, role: str, prompt: GrowingPrompt, seed: int) -> Utterance:
        """Ask the side's engine or chat API, again and elsewhere while it fails in passing.

        Raises:
            SpeakerError: refused for good, or failing for longer than the run bears.
            GiveBackError: the run is paused, for its engines are not as it asks, or its budget is spent; or nobody is
                there to ask.
            StaleClaimError: the conversation is somebody else's, or dead: it may be what ended its engines.
        """
        await self._wait(suspense_s(self._lost_engines))
        deadline = time.monotonic() + self.state.spec.retries.utterance_for_s
        attempt = failures_in_row = 0
        suspect = False
        is_outside = bool(self.state.spec.side(role).apis)
        while True:
            await self._around.lease.fresh()
            try:
                replica = self._placement.replica(role)
                async with replica.waited_for():
                    utterance = await self._ask(role, replica.engine, prompt, seed)
            except SpeakerError as error:
                failures_in_row += 1
                suspect = suspect or (not is_outside and may_have_taken_it_down(error))
                left_s = deadline - time.monotonic()
                retry = plan_retry(error, attempt=attempt, failures_in_row=failures_in_row, left_s=left_s)
                self._log.warning("utterance_failed", role=role, attempt=attempt, step=retry.step, error=str(error))
                self._around.metrics.retried(SIDE_NAMES[role], RetryCause.of(error))
                match retry.step:
                    case NextStep.PAUSE_RUN:
                        await self._pause_run(error)
                    case NextStep.FAIL:
                        raise
                    case NextStep.LEAVE:
                        failures_in_row = 0
                        if suspect:
                            await self._lose_engine(error)
                        suspect = False
                        await self._leave(role)
                        await self._wait(suspense_s(self._lost_engines))
                    case NextStep.ELSEWHERE:
                        failures_in_row = 0
                        if not await self._placement.try_another(role):
                            raise StaleClaimError from error
                attempt += 1
                await self._wait(retry.delay_s)
            else:
                self._lost_engines = 0
                self._around.metrics.spoken(SIDE_NAMES[role], utterance, self._placement.attainable(role, replica))
                ended = utterance.finish_reason is FinishReason.STOP  # then the engine has generated the eos too
                self._placement.spoken(role, replica, len(prompt) + utterance.num_tokens + ended)
                return utterance

    async def _ask(self, role: str, place: EngineClient | ChatApi, prompt: GrowingPrompt, seed: int) -> Utterance:
        """Have it speak; streamed where somebody watches, with the same outcome."""
        speaker, watching = self.state.sides[role], self._around.watching
        if self.state.id not in watching:
            return await speaker.speak(place, prompt, seed=seed)
        sight = Sight(self.state.id, len(self.state.turns), role, speaker.text_so_far)
        async with watching.showing(sight) as show:
            return await speaker.speak(place, prompt, seed=seed, show=show)

    async def _lose_engine(self, error: SpeakerError) -> None:
        """Count it against the conversation, whose request may be what ended the engine."""
        lost = await redis_patiently(
            lambda: self._queue.lose_engine(self._claim.conversation_id, self._claim.token, str(error))
        )
        if isinstance(lost, Outcome):
            if lost is Outcome.DEAD:
                self._around.metrics.failed(dead=True)
                self._log.error("conversation_ends_engines", error=str(error))
            raise StaleClaimError
        self._lost_engines = lost

    async def _leave(self, role: str) -> None:
        """To another replica; with none to be had, back into the queue, which hands it out when one answers."""
        try:
            if not await self._placement.leave(role):
                raise StaleClaimError
        except NoReplicaError:
            raise GiveBackError from None

    async def _pause_run(self, error: SpeakerError) -> None:
        by = PausedBy.LIMIT if isinstance(error, BudgetSpentError) else PausedBy.WORKER
        await redis_patiently(lambda: self._queue.pause(self._claim.run_id, by, str(error)))
        raise GiveBackError

    async def _wait(self, delay_s: float) -> None:
        """Sleep, but not beyond the worker's stop."""
        if delay_s <= 0:  # of nearly every utterance; a timeout of 0 would cost a task
            return
        try:
            await asyncio.wait_for(self._around.stopping.wait(), delay_s)
        except TimeoutError:
            return
        raise GiveBackError

    async def _append(self, turn: RecordedTurn) -> None:
        position = len(self.state.turns)
        self.state.add(turn)
        crash_point("worker.before_append")
        written = await self._append_at(position)
        crash_point("worker.after_append")
        if written.outcome is Outcome.SHORT:
            written = await self._append_from(written.length)
        if written.outcome is not Outcome.OK or written.run_state is RunState.CANCELLING:
            raise StaleClaimError
        if written.run_state is RunState.PAUSED and self._or_exhausted(self._ending()) is None:
            raise GiveBackError

    async def _append_from(self, start: int) -> Written:
        """Redis came back a moment older: record again what it no longer has."""
        self._log.warning("turns_recorded_again", turn_index=start)
        for position in range(start, len(self.state.turns)):
            written = await self._append_at(position)
            if written.outcome is not Outcome.OK:
                raise StaleClaimError
        return written

    async def _append_at(self, position: int) -> Written:
        turn = self.state.turns[position]
        generated = 0 if turn.finish_reason is FinishReason.SEED else turn.num_tokens
        text = self.state.turn_json(position)
        self._log.debug("utterance", turn_index=position, role=turn.role, content=turn.content)
        return await redis_patiently(
            lambda: self._queue.append(
                self._claim.conversation_id,
                self._claim.token,
                index=self._claim.index,
                expected=position,
                turn=text,
                generated_tokens=generated,
            )
        )

    async def _finish(self, reason: TerminationReason) -> None:
        record = self.state.record(reason)
        crash_point("worker.before_finish")
        while True:
            written = await redis_patiently(
                lambda: self._queue.finish(
                    self._claim.conversation_id,
                    self._claim.token,
                    expected=len(self.state.turns),
                    record=record,
                    reason=reason,
                    held_tokens=self.state.held_tokens,
                )
            )
            if written.outcome is not Outcome.SHORT:
                break
            await self._append_from(written.length)
        crash_point("worker.after_finish")
        if written.outcome is Outcome.OK:
            self._around.metrics.ended(reason.value)
        self._log.debug("conversation_finished", reason=reason.value, turns=len(self.state.turns))

    async def _fail(self, error: str) -> None:
        outcome = await redis_patiently(lambda: self._queue.fail(self._claim.conversation_id, self._claim.token, error))
        self._around.metrics.failed(dead=outcome is Outcome.DEAD)
        self._log.error("conversation_attempt_failed", error=error, outcome=outcome.value)
