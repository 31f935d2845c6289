"""A worker: claims conversations, carries hundreds of them at a time, and gives back what it cannot finish.

python -m services.orchestrator.worker [--help]
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Mapping

import structlog
import typer
import uvloop
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER
from platolm.errors import PlatoLMError, SpeakerError
from platolm.runs import RunSpec
from platolm.speakers import engine_session
from services.logs import configure_logs
from services.orchestrator.conversations.owned import OwnedConversations
from services.orchestrator.conversations.runner import (
    REDIS_AWAY,
    ConversationRunner,
    RunnerSettings,
    redis_patiently,
    retry_delay_s,
)
from services.orchestrator.health import HealthServer
from services.orchestrator.queue import Claim, LeaseLostError, Queue
from services.orchestrator.replicas import ReplicaPool
from services.orchestrator.settings import WorkerSettings
from services.orchestrator.sides import Sides

logger = structlog.get_logger(__name__)

HEARTBEATS_PER_LEASE = 4
REFRESH_S = 5.0
DRAIN_MARGIN_S = 5.0


class Worker:
    """One process's share of the conversations."""

    def __init__(self, settings: WorkerSettings, queue: Queue, sides: Sides) -> None:
        self._settings = settings
        self._queue = queue
        self._sides = sides
        self._name = _incarnation()
        self._owned = OwnedConversations()
        self._specs: dict[str, RunSpec] = {}
        # Held while claims change hands: a claim whose answer is still on its way must not look unknown to a heartbeat.
        self._claiming = asyncio.Lock()
        self._drained = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()

    @property
    def num_in_flight(self) -> int:
        return len(self._owned)

    async def run(self) -> None:
        """Work until `stopping` is set, then drain.

        The loops are cancelled, and also look at the events themselves: a cancellation that reaches a Redis command in
        the wrong moment can get lost (redis-py#2624).
        """
        await self._wait_for_engines()
        await redis_patiently(lambda: self._queue.register(self._name, lease_ms=self._lease_ms))
        logger.info("worker_ready", worker=self._name)
        self.ready.set()
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._heartbeat(), name="heartbeat"),
                group.create_task(self._reclaimer(), name="reclaimer"),
                group.create_task(self._refresher(), name="refresher"),
            ]
            conversations = group.create_task(self._claimer(group), name="claimer")
            await self.stopping.wait()
            self.ready.clear()
            conversations.cancel()
            logger.info("draining", in_flight=len(self._owned))
            await self._owned.drain(self._settings.drain_timeout_s)
            self._drained.set()
            for task in background:
                task.cancel()
        with contextlib.suppress(*REDIS_AWAY):
            await self._queue.unregister(self._name)
        logger.info("worker_stopped", worker=self._name)

    @property
    def _lease_ms(self) -> int:
        return int(self._settings.lease_s * 1000)

    async def _wait_for_engines(self) -> None:
        """Until both sides have an engine that answers."""
        attempt = 0
        while not self.stopping.is_set():
            try:
                for pool in self._sides.pools.values():
                    await pool.refresh()
                await self._sides.publish(self._queue)
                return
            except (SpeakerError, *REDIS_AWAY) as error:
                logger.info("waiting", reason=str(error))
                await asyncio.sleep(retry_delay_s(min(attempt, 4)))
                attempt += 1

    async def _heartbeat(self) -> None:
        while not self._drained.is_set():
            await asyncio.sleep(self._settings.lease_s / HEARTBEATS_PER_LEASE)
            try:
                await self._renew()
            except REDIS_AWAY as error:
                logger.warning("redis_away", error=str(error))

    async def _renew(self) -> None:
        """Renew the lease, then make memory and Redis agree on what this worker owns."""
        async with self._claiming:
            try:
                held = await self._queue.renew(self._name, lease_ms=self._lease_ms)
            except LeaseLostError:
                await self._start_over()
                return
            self._owned.drop_lost(held)
            for conversation_id, token in self._owned.unknown(held).items():
                logger.warning("unknown_claim_released", conversation_id=conversation_id)
                await self._queue.release(conversation_id, token)

    async def _start_over(self) -> None:
        """Our claims are others' now: drop everything and go on under a new name."""
        logger.warning("lease_lost", worker=self._name, dropped=len(self._owned))
        self._owned.cancel_all()
        self._name = _incarnation()
        await self._queue.register(self._name, lease_ms=self._lease_ms)

    async def _reclaimer(self) -> None:
        while not self._drained.is_set():
            await asyncio.sleep(self._settings.lease_s / 2)
            try:
                freed = await self._queue.reclaim(self._name, lease_ms=self._lease_ms)
            except REDIS_AWAY:
                continue
            if freed:
                logger.info("claims_reclaimed", count=freed)

    async def _refresher(self) -> None:
        """Look for replicas again, and forget runs that are over."""
        while not self._drained.is_set():
            await asyncio.sleep(REFRESH_S)
            for pool in self._sides.pools.values():
                await pool.refresh()
            try:
                active = set(await self._queue.active_runs())
            except REDIS_AWAY:
                continue
            active |= self._owned.run_ids
            self._sides.forget(active)
            self._specs = {run_id: spec for run_id, spec in self._specs.items() if run_id in active}

    async def _claimer(self, group: asyncio.TaskGroup) -> None:
        while not self.stopping.is_set():
            started = 0
            free = self._settings.max_in_flight - len(self._owned)
            if free > 0:
                try:
                    started = await self._claim(free, group)
                except REDIS_AWAY as error:
                    logger.warning("redis_away", error=str(error))
            if not started:
                await asyncio.sleep(self._settings.poll_interval_s)

    async def _claim(self, free: int, group: asyncio.TaskGroup) -> int:
        async with self._claiming:
            try:
                claims = await self._queue.claim(self._name, count=free)
            except LeaseLostError:
                await self._start_over()
                return 0
            for claim in claims:
                await self._start(claim, group)
        return len(claims)

    async def _start(self, claim: Claim, group: asyncio.TaskGroup) -> None:
        try:
            runner = await self._runner(claim)
        except PlatoLMError as error:
            logger.error("run_cannot_start", run_id=claim.run_id, error=str(error))
            if error.retryable:
                await self._queue.release(claim.conversation_id, claim.token)
            else:
                await self._queue.fail(claim.conversation_id, claim.token, str(error))
            return
        self._owned.start(claim, runner, group)

    async def _runner(self, claim: Claim) -> ConversationRunner:
        spec = self._specs.get(claim.run_id)
        if spec is None:
            spec = await self._queue.run_spec(claim.run_id)
            assert spec is not None, "a claim's run exists"
            self._specs[claim.run_id] = spec
        return ConversationRunner(
            claim,
            spec,
            queue=self._queue,
            sides=await self._sides.speakers(claim.run_id, spec),
            pools=self._sides.pools,
            settings=RunnerSettings(retry_for_s=self._settings.retry_for_s),
            stopping=self.stopping,
        )


def _incarnation() -> str:
    """A name that no worker before or after has."""
    return f"{socket.gethostname()}.{os.getpid()}.{secrets.token_hex(4)}"


def _leave_at_once() -> None:
    """The last resort of a drain that does not end; whatever is still claimed is reclaimed when the lease is over."""
    logger.error("drain_did_not_end")
    os._exit(1)


async def serve(settings: WorkerSettings) -> None:
    """Run one worker until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    redis = Redis.from_url(settings.redis_url, decode_responses=True, health_check_interval=30)
    async with (
        redis,
        engine_session(timeout_s=settings.request_timeout_s, limit=2 * settings.max_in_flight) as session,
    ):
        pools: Mapping[str, ReplicaPool] = {
            USER: ReplicaPool(session, settings.simulator_urls),
            ASSISTANT: ReplicaPool(session, settings.respondent_urls),
        }
        tokenizers = {USER: settings.simulator_tokenizer, ASSISTANT: settings.respondent_tokenizer}
        worker = Worker(settings, Queue(redis), Sides(pools, tokenizers))

        def stop() -> None:
            if not worker.stopping.is_set():
                loop.call_later(settings.drain_timeout_s + DRAIN_MARGIN_S, _leave_at_once)
            worker.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        async with HealthServer(worker, settings.health_host, settings.health_port):
            await worker.run()


def main(
    redis_url: str = typer.Option(None, help="[env PLATOLM_WORKER_REDIS_URL]"),
    simulator_urls: str = typer.Option(None, help="engines' /v1 URLs, by commas [env PLATOLM_WORKER_SIMULATOR_URLS]"),
    respondent_urls: str = typer.Option(None, help="engines' /v1 URLs, by commas [env PLATOLM_WORKER_RESPONDENT_URLS]"),
    max_in_flight: int = typer.Option(None, help="conversations at a time [env PLATOLM_WORKER_MAX_IN_FLIGHT]"),
) -> None:
    """Carry conversations between a simulator's and a respondent's engines.

    Any number of workers share one Redis. Every setting has an environment variable PLATOLM_WORKER_*; SIGTERM drains.
    """
    given = {
        "redis_url": redis_url,
        "simulator_urls": simulator_urls,
        "respondent_urls": respondent_urls,
        "max_in_flight": max_in_flight,
    }
    settings = WorkerSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    configure_logs(settings.log_level, service="worker")
    uvloop.run(serve(settings))


if __name__ == "__main__":
    typer.run(main)
