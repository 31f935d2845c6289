"""The dataset writer: feeds every open run and writes its dataset.

python -m services.orchestrator.writer [--help]
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import structlog
import typer
import uvloop
from redis.exceptions import RedisError

from platolm.storage import remove_leftovers
from services.gateway.errors import StartError
from services.logs import configure_logs
from services.orchestrator.crash_points import arm
from services.orchestrator.datasets.accepted_runs import AcceptedRuns
from services.orchestrator.datasets.run_place import RunPlaces
from services.orchestrator.health import HealthServer
from services.orchestrator.metrics.registry import process_registry
from services.orchestrator.metrics.writer import WriterMetrics
from services.orchestrator.queue import REDIS_AWAY, Queue, check_redis, open_redis
from services.orchestrator.run_keeper.keeper import Keeper
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings

logger = structlog.get_logger(__name__)

SHUTDOWN_S = 10.0
"""Time for the writes in progress when stopping; they may be broken off at any line."""

NUM_THREADS = 64
"""A place that does not answer holds a thread until its client gives up: enough of them for the other runs."""

LEFTOVER_AGE_S = 3600.0
RECONCILE_EVERY_S = 2.0


class Writer:
    """Keeps every open run. `ready` is set while Redis answers."""

    def __init__(self, settings: WriterSettings, queue: Queue, metrics: WriterMetrics) -> None:
        self._settings = settings
        self._queue = queue
        self._metrics = metrics
        self._places = RunPlaces(settings.data_dir, settings.allowed_outputs)
        self._accepted = AcceptedRuns(settings.data_dir)
        self._reconciled_at = float("-inf")
        self._keepers: dict[str, Keeper] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.stopping = asyncio.Event()
        self.ready = asyncio.Event()

    @property
    def problem(self) -> str | None:
        """Why a run cannot be fed or written at present, one of them; the others go on."""
        return next((keeper.problem for keeper in self._keepers.values() if keeper.problem is not None), None)

    async def run(self) -> None:
        """Work until `stopping` is set; what is being written then is finished."""
        removed = await asyncio.to_thread(remove_leftovers, self._places.runs_folder, older_than_s=LEFTOVER_AGE_S)
        logger.info("writer_started", leftovers_removed=removed)
        async with asyncio.TaskGroup() as group:
            while not self.stopping.is_set():
                await self._look_for_runs(group)
                await self._wait()
            self.ready.clear()
        logger.info("writer_stopped")

    async def _look_for_runs(self, group: asyncio.TaskGroup) -> None:
        try:
            await self._reconcile()
            await self._start_keepers(group)
        except (*REDIS_AWAY, RedisError) as error:
            self.ready.clear()
            logger.warning("redis_away", error=str(error))
        else:
            self.ready.set()

    async def _reconcile(self) -> None:
        """Now and then: what was accepted and is not in Redis is made again."""
        if time.monotonic() - self._reconciled_at >= RECONCILE_EVERY_S:
            await self._accepted.reconcile(self._queue)
            self._reconciled_at = time.monotonic()

    async def _start_keepers(self, group: asyncio.TaskGroup) -> None:
        for run_id in [run_id for run_id, task in self._tasks.items() if task.done()]:
            del self._tasks[run_id], self._keepers[run_id]
            self._places.forget(run_id)
        for run_id in await self._queue.open_runs():
            if run_id in self._tasks:
                continue
            spec = await self._queue.run_spec(run_id)
            assert spec is not None, "an open run has a spec"
            keeper = self._keepers[run_id] = self._keeper(OpenRun(run_id, spec, self._places))
            self._tasks[run_id] = group.create_task(keeper.keep(), name=f"keeper-{run_id}")

    def _keeper(self, run: OpenRun) -> Keeper:
        return Keeper(run, self._queue, self._settings, metrics=self._metrics, stopping=self.stopping)

    async def _wait(self) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), self._settings.poll_interval_s)
        except TimeoutError:
            return


def _leave_at_once() -> None:
    """The last resort of a write that does not end: whatever is not committed waits in Redis."""
    logger.error("writing_did_not_end")
    os._exit(1)


async def serve(settings: WriterSettings) -> None:
    """Run one writer until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(NUM_THREADS, thread_name_prefix="place"))
    async with open_redis(settings) as redis:
        queue = Queue(redis)
        registry = process_registry()
        metrics = WriterMetrics(registry)
        writer = Writer(settings, queue, metrics)
        metrics.watch_problem(lambda: writer.problem)

        def stop() -> None:
            if not writer.stopping.is_set():
                loop.call_later(SHUTDOWN_S, _leave_at_once)
            writer.stopping.set()

        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop)
        async with HealthServer(writer, settings.health_host, settings.health_port, registry=registry):
            await writer.run()
        await queue.close()


def main(
    redis_url: str = typer.Option(None, help="[env PLATOLM_WRITER_REDIS_URL]"),
    data_dir: Path = typer.Option(None, help="where runs and their datasets lie [env PLATOLM_WRITER_DATA_DIR]"),
) -> None:
    """Feed the runs' conversations to the workers, and write what they finish into datasets.

    Any number of writers share one Redis. Every setting has an environment variable PLATOLM_WRITER_*.
    """
    given = {"redis_url": redis_url, "data_dir": data_dir}
    settings = WriterSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    configure_logs(settings.log_level, service="writer")
    arm(settings.crash_at)
    try:
        check_redis(settings)
    except StartError as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    uvloop.run(serve(settings))


if __name__ == "__main__":
    typer.run(main)
