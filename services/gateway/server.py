"""One model server's process: starts the engine, serves, drains at SIGTERM, leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import sys
from collections.abc import Iterator
from typing import Any

import structlog
import uvicorn

from platolm.errors import StackError
from platolm.simulators.formats import PromptTokenizer
from platolm.stack.child import ChildProcess
from services.gateway.app import create_app
from services.gateway.engine import check_and_load, engine_command, installed_build, listen
from services.gateway.errors import FAILURE, StartError
from services.gateway.settings import GatewaySettings
from services.gateway.state import ServerState

log = structlog.get_logger()
_AT_ONCE = 1


class _UvicornServer(uvicorn.Server):
    """Signals are the process's business: it drains before uvicorn stops."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class StopSignals:
    """SIGTERM and SIGINT: the first asks for a drain, the second for the end at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self.number = 0
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._received, int(number))

    def _received(self, number: int) -> None:
        self.number = number
        (self.second if self.first.is_set() else self.first).set()


def run(settings: GatewaySettings) -> int:
    """Serve until told to stop; the process's exit code."""
    try:
        tokenizer = check_and_load(settings)
        with listen(settings.host, settings.port) as sock:
            return asyncio.run(_serve(settings, tokenizer, sock))
    except KeyboardInterrupt:  # before the loop had its signal handlers
        return 128 + signal.SIGINT
    except (StartError, StackError) as error:
        for line in error.log_tail:
            print(f"  engine | {line}", file=sys.stderr)
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, StartError) else FAILURE


async def _serve(settings: GatewaySettings, tokenizer: PromptTokenizer, sock: socket.socket) -> int:
    signals = StopSignals()
    state = ServerState(startup_failure=asyncio.get_running_loop().create_future())
    engine = await _start_engine(settings)
    config = uvicorn.Config(
        create_app(settings, tokenizer, state),
        log_config=None,
        access_log=False,
        lifespan="on",
        timeout_graceful_shutdown=_AT_ONCE,
    )
    server = _UvicornServer(config)
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    log.info("listening", host=settings.host, port=settings.port, model=settings.served_model_name)
    try:
        return await _until_stopped(settings, state, signals, engine, serving)
    finally:
        server.should_exit = True
        server.force_exit = signals.second.is_set()
        if engine is not None:
            await (engine.kill() if signals.second.is_set() else engine.stop())
        await asyncio.wait({serving})
        log.info("stopped")


async def _start_engine(settings: GatewaySettings) -> ChildProcess | None:
    if settings.engine_url is not None:
        return None
    command = engine_command(settings, installed_build())
    log.info("starting the engine", log=str(command.log_path), argv=list(command.argv))
    return await ChildProcess.start(command)


async def _until_stopped(
    settings: GatewaySettings,
    state: ServerState,
    signals: StopSignals,
    engine: ChildProcess | None,
    serving: asyncio.Task[None],
) -> int:
    """Wait for the first reason to end.

    Raises:
        StartError: the engine died, or did not come up.
    """
    assert state.startup_failure is not None
    stopped = asyncio.create_task(signals.first.wait())
    died = asyncio.create_task(engine.wait() if engine is not None else _never())
    try:
        reasons: set[asyncio.Future[Any]] = {stopped, died, serving, state.startup_failure}
        await asyncio.wait(reasons, return_when=asyncio.FIRST_COMPLETED)
        if stopped.done():
            return await _drain(settings, state, signals, died)
        tail = engine.log_tail() if engine is not None else []
        if died.done():
            raise StartError(f"the engine ended by itself with code {died.result()}{_where(engine)}", log_tail=tail)
        if state.startup_failure.done():
            raise StartError(f"{state.startup_failure.result()}{_where(engine)}", log_tail=tail)
        raise StartError("the HTTP server ended by itself")
    finally:
        for task in (stopped, died):
            task.cancel()
        await asyncio.gather(stopped, died, return_exceptions=True)


async def _drain(settings: GatewaySettings, state: ServerState, signals: StopSignals, died: asyncio.Task[int]) -> int:
    """Refuse new requests and let those in flight finish; 0, or 128 + signal when a second signal cut it short."""
    state.draining = True
    log.info("draining", num_in_flight=state.num_in_flight, timeout_s=settings.drain_timeout_s)
    idle = asyncio.create_task(state.wait_idle())
    cut_short = asyncio.create_task(signals.second.wait())
    await asyncio.wait({idle, cut_short, died}, timeout=settings.drain_timeout_s, return_when=asyncio.FIRST_COMPLETED)
    for task in (idle, cut_short):
        task.cancel()
    await asyncio.gather(idle, cut_short, return_exceptions=True)
    if state.num_in_flight:
        log.warning("requests cut off", num_in_flight=state.num_in_flight)
    return 128 + signals.number if signals.second.is_set() else 0


async def _never() -> int:
    await asyncio.Event().wait()
    raise AssertionError("unreachable")


def _where(engine: ChildProcess | None) -> str:
    return f"; its log is {engine.command.log_path}" if engine is not None else ""
