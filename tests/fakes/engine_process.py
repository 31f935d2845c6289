"""The fake engine as a process of its own, with a log of requests and answers that only grows.

It survives, and goes on logging, while others are killed. `Settings` may be changed while it runs.

    python -m tests.fakes.engine_process TOKENIZER_FOLDER --model socratic --log FILE [--port 0]

prints its port and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Annotated, Any

import httpx
import typer
from aiohttp import web

from tests.fakes.engine import FakeEngine, Request
from tests.fakes.faults import HARMLESS, Fault

PASSING_FAULTS = (
    Fault.REFUSED, Fault.BUSY, Fault.ABORTED, Fault.DROPPED, Fault.RESET, Fault.TRUNCATED, Fault.NOT_JSON, Fault.SLOW,
)  # fmt: skip
"""What happens at random: each is over at the next request."""


@dataclass(frozen=True)
class Settings:
    """What an engine process is like. An answer takes half to one and a half `latency_s`; `fault_rate` is a share."""

    latency_s: float = 0.0
    fault_rate: float = 0.0
    ends_one_in: int = 0
    max_model_len: int = 1024
    kv_tokens: int = 0
    is_hung: bool = False


@dataclass(frozen=True)
class Asked:
    """One request of the log. Times on the machine's monotonic clock; `outcome` None: not answered (yet)."""

    model: str
    seed: int
    num_prompt_tokens: int
    at: float
    outcome: str | None

    @property
    def was_answered(self) -> bool:
        return self.outcome == "answered" or self.outcome in HARMLESS


@dataclass
class LoggedEngine(FakeEngine):
    """Writes a line for each request when it comes, and one when it is answered."""

    log: IO[str] = field(kw_only=True)
    fault_rate: float = 0.0
    chance: random.Random = field(default_factory=random.Random)
    num_asked: int = 0

    async def completions(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.num_asked += 1
        number = self.num_asked
        about = {"seed": int(body["seed"]), "num_prompt_tokens": len(body["prompt"])}
        self._write({"number": number, "at": time.monotonic(), "model": self.model, **about})
        fault = self.chance.choice(PASSING_FAULTS) if self.chance.random() < self.fault_rate else None
        outcome = "interrupted"
        try:
            response = await self._answer(request, body, fault)
            refused = response.status != 200 and fault is None
            outcome = f"status {response.status}" if refused else fault or "answered"
            return response
        finally:
            self._write({"number": number, "outcome": outcome})

    async def settings(self, request: web.Request) -> web.Response:
        """Change what is in the body."""
        for name, value in (await request.json()).items():
            setattr(self, name, value)
        return web.Response()

    async def in_flight_now(self, _request: web.Request) -> web.Response:
        return web.json_response({"in_flight": self.in_flight})

    def application(self) -> web.Application:
        app = super().application()
        app.add_routes([web.patch("/settings", self.settings), web.get("/in_flight", self.in_flight_now)])
        return app

    def _note_asked(self, key: Request) -> None:
        """The log holds it, and memory need not."""

    _note_begun = _note_answered = _note_asked

    def _latency_s(self) -> float:
        return self.latency_s * self.chance.uniform(0.5, 1.5)

    def _write(self, line: dict[str, Any]) -> None:
        self.log.write(json.dumps(line) + "\n")


@dataclass
class EngineProcess:
    """An engine process as its starter sees it; `command` goes in front of its command line."""

    tokenizer_folder: Path
    model: str
    log: Path
    settings: Settings = Settings()
    seed: int = 0
    url: str = ""
    host: str = "127.0.0.1"
    command: Sequence[str] = ()
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> EngineProcess:
        """Serve, after a `kill` on the same port as before."""
        port = self.url.removesuffix("/v1").rpartition(":")[2] or "0"
        argv = [*self.command, sys.executable, "-m", "tests.fakes.engine_process", str(self.tokenizer_folder)]
        argv += [
            "--model",
            self.model,
            "--log",
            str(self.log),
            "--port",
            port,
            "--seed",
            str(self.seed),
            "--host",
            self.host,
        ]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.url = f"http://{self.host}:{int(self.process.stdout.readline())}/v1"
        self.change(**asdict(self.settings))
        return self

    def change(self, **settings: object) -> None:
        """Change some of `Settings`."""
        httpx.patch(f"{self._base}/settings", json=settings, timeout=30).raise_for_status()

    def in_flight(self) -> int:
        answer = httpx.get(f"{self._base}/in_flight", timeout=30).raise_for_status().json()
        return int(answer["in_flight"])

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self.process is not None:
            self._end(signal.SIGTERM)

    def asked(self) -> list[Asked]:
        """Everything in the log, in the order of coming."""
        return read_log(self.log)

    @property
    def _base(self) -> str:
        return self.url.removesuffix("/v1")

    def _end(self, number: signal.Signals) -> None:
        assert self.process is not None
        process, self.process = self.process, None
        with process:
            process.send_signal(number)
            process.wait(20)


@contextmanager
def engine_process(
    tokenizer_folder: Path,
    model: str,
    log: Path,
    *,
    seed: int = 0,
    host: str = "127.0.0.1",
    command: Sequence[str] = (),
    **settings: Any,
) -> Iterator[EngineProcess]:
    """A running engine while entered; `settings` are those of `Settings`."""
    engine = EngineProcess(tokenizer_folder, model, log, Settings(**settings), seed, host=host, command=command)
    engine.start()
    try:
        yield engine
    finally:
        engine.stop()


def read_log(path: Path) -> list[Asked]:
    """A log's requests. The last line may be cut where its engine was killed."""
    asked: dict[tuple[int, int], dict[str, Any]] = {}
    life = 0
    for line in path.read_text().split("\n"):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if "at" in entry:
            life += entry["number"] == 1  # numbers begin anew with each life
            asked[life, entry["number"]] = entry
        else:
            asked[life, entry["number"]]["outcome"] = entry["outcome"]
    return [
        Asked(entry["model"], entry["seed"], entry["num_prompt_tokens"], entry["at"], entry.get("outcome"))
        for entry in asked.values()
    ]


async def serve(engine: LoggedEngine, host: str, port: int) -> None:
    """Serve until SIGTERM; the port goes to standard output."""
    stopping = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopping.set)
    assert engine.tokenizer.eos_id >= 0, "loaded before the first request"
    runner = web.AppRunner(engine.application(), access_log=None, shutdown_timeout=0.2)
    await runner.setup()
    await web.TCPSite(runner, host, port, reuse_address=True).start()
    print(runner.addresses[0][1], flush=True)
    await stopping.wait()
    await runner.cleanup()


def main(
    tokenizer_folder: Path,
    model: Annotated[str, typer.Option()],
    log: Annotated[Path, typer.Option(help="where a line for each request and each answer is added")],
    port: int = 0,
    host: str = "127.0.0.1",
    seed: Annotated[int, typer.Option(help="of latency and faults")] = 0,
) -> None:
    """Serve a fake engine with settable latency and faults."""
    with log.open("a", buffering=1) as lines:
        engine = LoggedEngine(tokenizer_folder, model, log=lines, chance=random.Random(f"{seed}/{os.getpid()}"))
        asyncio.run(serve(engine, host, port))


if __name__ == "__main__":
    typer.run(main)
