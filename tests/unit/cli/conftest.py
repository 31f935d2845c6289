"""A fake API for each test, and the real command as a child process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.cli.fake_api import FakeApi


@dataclass(frozen=True)
class Result:
    """What a command left."""

    code: int
    stdout: str
    stderr: str


@dataclass
class Command:
    """A `platolm` process."""

    process: asyncio.subprocess.Process

    async def result(self) -> Result:
        stdout, stderr = await self.process.communicate()
        assert self.process.returncode is not None
        return Result(self.process.returncode, stdout.decode(), stderr.decode())

    async def kill(self, number: signal.Signals = signal.SIGKILL) -> Result:
        self.process.send_signal(number)
        return await self.result()


StartCommand = Callable[..., Awaitable[Command]]
RunCommand = Callable[..., Awaitable[Result]]


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    api = FakeApi()
    await api.start()
    yield api
    await api.stop()


@pytest.fixture
async def start(api: FakeApi, tmp_path: Path) -> AsyncIterator[StartCommand]:
    """Start `platolm` against the fake API, in an empty folder; what still runs at the end is killed."""
    commands: list[Command] = []

    async def start_command(*arguments: str | Path, stdin: int = asyncio.subprocess.DEVNULL) -> Command:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "platolm", *map(str, arguments)),
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=tmp_path,
            env={**os.environ, "PLATOLM_API_URL": api.url, "COLUMNS": "200"},
        )
        commands.append(Command(process))
        return commands[-1]

    yield start_command
    for command in commands:
        if command.process.returncode is None:
            await command.kill()


@pytest.fixture
def platolm(start: StartCommand) -> RunCommand:
    """Run `platolm` to its end."""

    async def run(*arguments: str | Path) -> Result:
        return await (await start(*arguments)).result()

    return run


async def wait_until(condition: Callable[[], bool]) -> None:
    """Come back when the condition holds; the test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110  what is waited for happens in another process
        await asyncio.sleep(0.01)
