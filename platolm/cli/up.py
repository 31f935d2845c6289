"""`platolm up`: the whole stack on this machine, until Ctrl-C."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from platolm.cli.console import message_console
from platolm.errors import InputError
from platolm.stack.control import control_socket
from platolm.stack.local import LocalStack
from platolm.stack.plan import API, REDIS, RESPONDENT, SIMULATOR, WORKER, WRITER
from platolm.stack.process import ProcessState, ProcessStatus
from platolm.stack.settings import HOST, LocalStackSettings, flag_of

UP_EPILOG = """Examples:

    platolm up

    platolm up --simulator-model runs/socratic --respondent-model runs/platolm --data-dir /data/platolm

    PLATOLM_UP_REDIS_PASSWORD=… platolm up --redis-url rediss://redis.example:6379/0 --redis-ca-file ca.pem

    platolm up --shared-engine --base-model BASE --simulator-model runs/s/adapter --respondent-model runs/p/adapter

    platolm up --simulator-model org/socratic-70b --simulator-engine-url http://gpu-1:8000/v1
"""

_COLOURS = {
    ProcessState.READY: "green",
    ProcessState.FAILED: "bold red",
    ProcessState.RESTARTING: "yellow",
    ProcessState.STOPPING: "yellow",
}


def up(
    simulator_model: Annotated[
        str | None, typer.Option(help="The simulator's model folder or hub name. [default: the demo model]")
    ] = None,
    respondent_model: Annotated[
        str | None, typer.Option(help="The respondent's model folder or hub name. [default: the demo model]")
    ] = None,
    shared_engine: Annotated[
        bool | None,
        typer.Option("--shared-engine", help="One engine for both sides: their models are LoRA adapters of one base."),
    ] = None,
    base_model: Annotated[
        str | None,
        typer.Option(help="With --shared-engine: the base that the adapters were trained on. [default: the demo's]"),
    ] = None,
    simulator_engine_url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Its engine is this vLLM server or router, instead of one started here."),
    ] = None,
    respondent_engine_url: Annotated[
        str | None, typer.Option(metavar="URL", help="The respondent's engine, likewise.")
    ] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Runs, datasets and Redis's files. [default: data]")] = None,
    log_dir: Annotated[
        Path | None, typer.Option(help="The processes' logs. [default: logs in the data folder]")
    ] = None,
    api_port: Annotated[int | None, typer.Option(help="The API and dashboard. [default: 8000]")] = None,
    simulator_port: Annotated[int | None, typer.Option(help="The simulator. [default: 8001]")] = None,
    respondent_port: Annotated[int | None, typer.Option(help="The respondent. [default: 8002]")] = None,
    worker_health_port: Annotated[int | None, typer.Option(help="The worker's health. [default: 8003]")] = None,
    writer_health_port: Annotated[int | None, typer.Option(help="The dataset writer's health. [default: 8004]")] = None,
    simulator_engine_port: Annotated[int | None, typer.Option(help="The simulator's engine. [default: 8011]")] = None,
    respondent_engine_port: Annotated[int | None, typer.Option(help="The respondent's engine. [default: 8012]")] = None,
    redis_port: Annotated[int | None, typer.Option(help="The embedded Redis. [default: 6390]")] = None,
    redis_url: Annotated[
        str | None,
        typer.Option(
            help="A Redis that runs already, instead of the embedded one; rediss:// for TLS. "
            "Its password: PLATOLM_UP_REDIS_PASSWORD."
        ),
    ] = None,
    redis_ca_file: Annotated[
        Path | None,
        typer.Option(help="With TLS: who may sign that Redis' certificate. [default: the system's]"),
    ] = None,
    kv_cache_gib: Annotated[
        int | None, typer.Option(help="KV cache of each side in GiB, without a GPU. [default: 1]")
    ] = None,
    engine_threads: Annotated[
        int | None,
        typer.Option(help="Threads of each engine, without a GPU. [default: shared out, one core kept free]"),
    ] = None,
    startup_timeout_s: Annotated[
        float | None, typer.Option(help="Seconds for everything to come up. [default: 600]")
    ] = None,
) -> None:
    """Start Redis, both model servers, the API, the dataset writer and a worker on this machine, and wait until Ctrl-C.

    Every option has an environment variable PLATOLM_UP_*, e.g. PLATOLM_UP_API_PORT.
    """
    settings = settings_from(**locals())
    console = message_console()
    asyncio.run(until_interrupted(_serve(settings, console)))
    console.print("Stopped; everything written is in", Text(str(settings.data_dir), style="bold"))


def settings_from(**given: Any) -> LocalStackSettings:
    """Settings from flags over the environment over defaults.

    Raises:
        InputError: a value cannot be used.
    """
    try:
        return LocalStackSettings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = f"{flag_of(str(first['loc'][0]))}: " if first["loc"] else ""
        raise InputError(where + first["msg"].removeprefix("Value error, ")) from error


async def until_interrupted(work: Coroutine[Any, Any, None]) -> bool:
    """Run `work`; the first Ctrl-C or SIGTERM cancels it so that it cleans up, a second one makes it hurry.

    Returns whether it was interrupted.
    """
    task = asyncio.ensure_future(work)
    interrupted = False

    def interrupt() -> None:
        nonlocal interrupted
        interrupted = True
        task.cancel()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, interrupt)
    try:
        await task
    except asyncio.CancelledError:
        if not interrupted:
            raise
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
    return interrupted


@asynccontextmanager
async def running_stack(settings: LocalStackSettings, console: Console) -> AsyncIterator[LocalStack]:
    """A running local stack: a live table of its processes while it starts, plain lines where output is piped.

    `platolm replace` reaches it.

    Raises:
        StackError: something did not start; what had started is stopped again.
    """
    board = _Board(console)
    stack = LocalStack(settings, on_change=board.note)
    with board:
        await stack.__aenter__()
    try:
        async with control_socket(stack):
            yield stack
    finally:
        console.print("Stopping …", style="dim")
        await stack.__aexit__(None, None, None)


def dashboard_url(settings: LocalStackSettings) -> str:
    """Where a browser finds the stack."""
    return f"http://{HOST}:{settings.api_port}/"


def addresses(settings: LocalStackSettings) -> str:
    """What a person wants to know once everything runs."""
    return f"""
dashboard          {dashboard_url(settings)}   (watch, start runs, talk)
API                http://{HOST}:{settings.api_port}/v1   (described at /docs)
simulator          http://{HOST}:{settings.simulator_port}/v1   (writes the user's turns)
respondent         http://{HOST}:{settings.respondent_port}/v1   (answers as the assistant)
logs               {settings.logs}

Try:  curl http://{HOST}:{settings.simulator_port}/v1/chat/completions -H 'Content-Type: application/json' \\
           -d '{{"messages": []}}'

Other models without a restart: platolm replace. Ctrl-C stops everything."""


async def _serve(settings: LocalStackSettings, console: Console) -> None:
    async with running_stack(settings, console) as stack:
        console.print(addresses(settings), markup=False, soft_wrap=True)
        await stack.watch()


class _Board:
    """Shows the processes' states: a table that is drawn again on a terminal, a line for each change elsewhere."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._statuses: dict[str, ProcessStatus] = {}
        self._live: Live | None = None
        self._began = time.monotonic()

    def __enter__(self) -> None:
        if self._console.is_terminal:
            self._live = Live(get_renderable=self._table, console=self._console, refresh_per_second=4)
            self._live.start()

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def note(self, status: ProcessStatus) -> None:
        self._statuses[status.name] = status
        shown_anyway = status.state in (ProcessState.RESTARTING, ProcessState.FAILED)
        if self._live is None and (shown_anyway or not self._console.is_terminal):
            self._console.print(f"{status.name} {status.state} ({status.since_s:.0f} s)", markup=False)

    def _shown_s(self, status: ProcessStatus) -> float:
        """When a state came; for what is still coming up, the time now."""
        moving = status.state in (ProcessState.STARTING, ProcessState.RESTARTING)
        return time.monotonic() - self._began if moving else status.since_s

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for name in (REDIS, SIMULATOR, RESPONDENT, API, WRITER, WORKER):
            status = self._statuses.get(name)
            if status is not None:
                state = Text(status.state, style=_COLOURS.get(status.state, "dim"))
                table.add_row(name, state, f"{self._shown_s(status):.0f} s")
        return table
