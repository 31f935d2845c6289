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
import sys
import time
from collections.abc import Iterator

import structlog
import typer
import uvloop
from pydantic import ValidationError

from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import engine_session
from platolm.errors import MisconfiguredError, SpeakerError, SpecError
from platolm.runs import PausedBy
from services.gateway.errors import StartError
from services.logs import configure_logs
from services.orchestrator.conversations.lease import Lease
from services.orchestrator.conversations.owned import OwnedConversations
from services.orchestrator.conversations.runner import ConversationRunner, Surroundings
from services.orchestrator.conversations.watching import Watching
from services.orchestrator.crash_points import arm, crash_point
from services.orchestrator.engines.chat_apis import ChatApis
from services.orchestrator.engines.chat_sides import ChatSides, open_chat_apis
from services.orchestrator.engines.engine_watch import EngineWatch
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.engines.sides import SIDE_NAMES, Sides
from services.orchestrator.health import HealthServer
from services.orchestrator.metrics.registry import process_registry
from services.orchestrator.metrics.replicas import ReplicaReading
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue import (
    REDIS_AWAY,
    Claim,
    Claimed,
    LeaseLostError,
    Queue,
    check_redis,
    open_redis,
    redis_patiently,
)
from services.orchestrator.queue.reports import REPORT_EVERY_S
from services.orchestrator.series.reporting import worker_report
from services.orchestrator.settings import WorkerSettings
from services.secret_files import secrets_folder
from services.tracing import Tracing, tracer

logger = structlog.get_logger(__name__)

HEARTBEATS_PER_LEASE = 4
DRAIN_MARGIN_S = 5.0


class Worker:
    """One process's share of the conversations."""

    def __init__(
        self, settings: WorkerSettings, queue: Queue, sides: Sides, metrics: WorkerMetrics, tracing: Tracing
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._sides = sides
        self._pools = sides.pools
        self._metrics = metrics
        self._tracing = tracing
        self._name = _incarnation()
        self._owned = OwnedConversations()
        self._engines = EngineWatch(queue, sides.pools, patience_s=settings.engines_patience_s)
        # Held while claims change hands: a claim whose answer is still on its way must not look unknown to a heartbeat.
        self._claiming = asyncio.Lock()
        self._drained = asyncio.Event()
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()
        self._watching = Watching(queue)
        self._lease = Lease(settings.lease_s)
        self._around = Surroundings(queue, sides.pools, metrics, tracing, self._watching, self.stopping, self._lease)
        metrics.watch_in_flight(lambda: len(self._owned))
        metrics.watch_replicas(self._replica_readings)

    async def run(self) -> None:
        """Work until `stopping` is set, then drain.

        The loops are cancelled, and also look at the events themselves: a cancellation that reaches a Redis command in
        the wrong moment can get lost (redis-py#2624).
        """
        await self._wait_for_engines()
        await redis_patiently(self._register)
        logger.info("worker_ready", worker=self._name)
        self.ready.set()
        async with asyncio.TaskGroup() as group:
            background = [
                group.create_task(self._heartbeat(), name="heartbeat"),
                group.create_task(self._reclaimer(), name="reclaimer"),
                group.create_task(self._refresher(), name="refresher"),
                group.create_task(self._watching.keep_looking(self._drained), name="watching"),
                group.create_task(self._reporter(), name="reporter"),
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
        """Until the engines that this worker was given have told what they serve."""
        while not self.stopping.is_set():
            try:
                await self._pools.refresh()
                await self._sides.publish(self._queue)
                return
            except (SpeakerError, *REDIS_AWAY) as error:
                logger.info("waiting", reason=str(error))
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.stopping.wait(), self._settings.refresh_s)

    async def _register(self) -> None:
        sent_at = self._lease.sending()
        await self._queue.register(self._name, lease_ms=self._lease_ms)
        self._lease.renewed(sent_at)

    async def _heartbeat(self) -> None:
        while not self._drained.is_set():
            await asyncio.sleep(self._settings.lease_s / HEARTBEATS_PER_LEASE)
            try:
                await self._renew()
            except REDIS_AWAY as error:
                self._redis_is_away(error)

    async def _renew(self) -> None:
        """Renew the lease, then make memory and Redis agree on what this worker owns."""
        async with self._claiming:
            sent_at = self._lease.sending()
            try:
                held = await self._queue.renew(self._name, lease_ms=self._lease_ms)
            except LeaseLostError:
                await self._start_over()
                return
            self._lease.renewed(sent_at)
            self._metrics.claims_lost(self._owned.drop_lost(held))
            for conversation_id, token in self._owned.unknown(held).items():
                logger.warning("unknown_claim_released", conversation_id=conversation_id)
                await self._queue.release(conversation_id, token)

    async def _start_over(self) -> None:
        """Our claims are others' now: drop everything and go on under a new name."""
        logger.warning("lease_lost", worker=self._name, dropped=len(self._owned))
        self._metrics.claims_lost(len(self._owned))
        self._lease.lost()
        self._owned.cancel_all()
        self._name = _incarnation()
        await self._register()

    async def _reclaimer(self) -> None:
        while not self._drained.is_set():
            await asyncio.sleep(self._settings.lease_s / 2)
            try:
                freed = await self._queue.reclaim(self._name, lease_ms=self._lease_ms)
            except REDIS_AWAY:
                continue
            if freed:
                self._metrics.reclaimed(freed)
                logger.info("claims_reclaimed", count=freed)

    async def _refresher(self) -> None:
        """Look for replicas again, and forget runs that are over or wait."""
        while not self._drained.is_set():
            await asyncio.sleep(self._settings.refresh_s)
            try:
                await self._engines.look()
            except REDIS_AWAY as error:
                self._redis_is_away(error)
                continue
            self._sides.forget(self._engines.active | self._owned.run_ids)

    async def _reporter(self) -> None:
        """Tell the API how this worker and its engines do; where Redis is away, nobody is there to hear it."""
        while not self._drained.is_set():
            with contextlib.suppress(*REDIS_AWAY):
                await self._queue.report(self._name, worker_report(self._metrics, self._pools))
            await asyncio.sleep(REPORT_EVERY_S)

    async def _claimer(self, group: asyncio.TaskGroup) -> None:
        """Refill at once when a conversation ends; look again after a while where nothing more was to be had."""
        while not self.stopping.is_set():
            self._owned.room.clear()
            free = self._settings.max_in_flight - len(self._owned)
            if free <= 0:
                await self._owned.room.wait()
                continue
            try:
                handed = await self._claim(free, group)
            except REDIS_AWAY as error:
                self._redis_is_away(error)
                handed = 0
            if handed < free:
                await asyncio.sleep(self._settings.poll_interval_s)

    async def _claim(self, free: int, group: asyncio.TaskGroup) -> int:
        """Own up to `free` conversations and start them; gives how many."""
        async with self._claiming:
            try:
                with self._tracing.claim(self._name) as span:
                    claimed = await self._queue.claim(self._name, count=free, offers=self._pools.offers())
                    if claimed.claims:
                        span.tell(num_claims=len(claimed.claims))
                    else:
                        span.forget()
            except LeaseLostError:
                await self._start_over()
                return 0
            self._owned.expect(claimed.claims)
        crash_point("worker.after_claim")
        self._metrics.claimed(len(claimed.claims))
        try:
            await self._start_all(claimed, group)
        finally:
            for claim in claimed.claims:  # those not started because Redis went away: the next heartbeat finds them
                self._owned.give_up(claim)
        return len(claimed.claims)

    async def _start_all(self, claimed: Claimed, group: asyncio.TaskGroup) -> None:
        """Begin what was handed out, and look for the engines of runs that could not be served.

        Raises:
            RedisError: Redis is away; some may not have been started.
        """
        for claim in claimed.claims:
            await self._start(claim, group)
        for run_id in claimed.unknown_runs:
            await self._engines.spec(run_id)
        if claimed.unknown_runs:
            await self._pools.refresh()

    async def _start(self, claim: Claim, group: asyncio.TaskGroup) -> None:
        try:
            spec = await self._engines.spec(claim.run_id)
            sides = await self._sides.speakers(claim.run_id, spec)
            runner = ConversationRunner(claim, spec, sides=sides, surroundings=self._around)
        except MisconfiguredError as error:
            logger.error("run_cannot_start", run_id=claim.run_id, error=str(error))
            await self._queue.pause(claim.run_id, PausedBy.WORKER, str(error))
            await self._give_back(claim)
        except ValidationError as error:
            logger.error("conversation_unreadable", conversation_id=claim.conversation_id)
            self._owned.give_up(claim)
            await self._queue.fail(claim.conversation_id, claim.token, f"its seed cannot be read: {_said(error)}")
        except (SpeakerError, *REDIS_AWAY) as error:
            logger.warning("conversation_not_started", run_id=claim.run_id, error=str(error))
            await self._give_back(claim)
        else:
            self._owned.start(claim, runner, group)

    async def _give_back(self, claim: Claim) -> None:
        """A claim that no task carries; what Redis does not hear now, the next heartbeat finds."""
        self._owned.give_up(claim)
        await self._queue.release(claim.conversation_id, claim.token)

    def _redis_is_away(self, error: BaseException) -> None:
        self._metrics.redis_away()
        logger.warning("redis_away", error=str(error))

    def _replica_readings(self) -> Iterator[ReplicaReading]:
        now = time.monotonic()
        for role, replica in self._pools.replicas_by_role():
            yield ReplicaReading(
                side=SIDE_NAMES[role],
                url=replica.url,
                is_usable=replica.is_usable(now),
                budget_tokens=replica.reading.kv_tokens,
                num_asked=len(replica.speaking),
                num_running=replica.reading.running,
                num_waiting=replica.reading.waiting,
            )


def _said(error: ValidationError) -> str:
    """Its first problem in one line, without the value, which is somebody's text."""
    problem = error.errors()[0]
    return ": ".join([*map(str, problem["loc"]), problem["msg"]])


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
    redis = open_redis(settings)
    session = engine_session(
        timeout_s=settings.request_timeout_s,
        peer_timeout_s=settings.silence_s,
        limit=0,  # what is in flight bounds the connections already
        api_key=settings.engine_api_key.get_secret_value() if settings.engine_api_key else None,
    )
    registry = process_registry()
    async with redis, session:
        replicas = Replicas(session, hang_after_s=settings.hang_after_s)
        queue = Queue(redis)
        apis = _chat_apis(settings, queue)
        pools = Pools(replicas, {USER: settings.simulator_urls, ASSISTANT: settings.respondent_urls}, apis)
        tokenizers = {USER: settings.simulator_tokenizer, ASSISTANT: settings.respondent_tokenizer}
        models = {USER: settings.simulator_model, ASSISTANT: settings.respondent_model}
        tracing, metrics = tracer(settings, service="worker"), WorkerMetrics(registry)
        sides = Sides(pools, tokenizers, models, ChatSides(apis, queue.chat_use, metrics))
        worker = Worker(settings, queue, sides, metrics, tracing)

        def stop() -> None:
            if not worker.stopping.is_set():
                loop.call_later(settings.drain_timeout_s + DRAIN_MARGIN_S, _leave_at_once)
            worker.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        async with HealthServer(worker, settings.health_host, settings.health_port, registry=registry):
            await worker.run()
        await apis.close()
        await queue.close()
        await asyncio.to_thread(tracing.close)


def _chat_apis(settings: WorkerSettings, queue: Queue) -> ChatApis:
    """The operator's chat APIs.

    Raises:
        SpecError: a file of theirs cannot be read, or is wrong.
    """
    return open_chat_apis(
        settings.chat_apis_file,
        settings.prices_file,
        use=queue.chat_use,
        environment=os.environ,
        secrets_folder=secrets_folder(),
    )


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
    arm(settings.crash_at)
    try:
        check_redis(settings)
        uvloop.run(serve(settings))
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except SpecError as error:
        for problem in error.problems:
            print(f"error: {error.source}: {problem}", file=sys.stderr)
        raise typer.Exit(2) from None


if __name__ == "__main__":
    typer.run(main)
