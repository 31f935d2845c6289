"""One guarded child process: its log file with a tail to show, a graceful stop, no orphan."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from platolm.errors import StackError
from platolm.stack import guard

_TAIL_BYTES = 16 * 1024
_KILL_MARGIN_S = 5.0


@dataclass(frozen=True)
class Command:
    """What to run. `env` is added to this process's environment; `log_path` None lets it write where we write."""

    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    log_path: Path | None = None
    grace_s: float = 10.0


class ChildProcess:
    """A running command behind its guard (`platolm.stack.guard`).

    Its whole process tree ends when it is stopped, when its leader ends, and when this process dies, SIGKILL included.
    Start it from the main thread: the kernel reports the death of the starting *thread*.
    """

    def __init__(self, command: Command, process: asyncio.subprocess.Process) -> None:
        self.command = command
        self._process = process

    @classmethod
    async def start(cls, command: Command) -> ChildProcess:
        """Start the command; an earlier log is kept beside the new one as `<name>.1`.

        Raises:
            StackError: the log file cannot be written.
        """
        script = str(Path(guard.__file__))
        argv = [sys.executable, "-S", script, str(os.getpid()), str(command.grace_s), *command.argv]
        log_file = _fresh_log(command.log_path) if command.log_path is not None else None
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env={**os.environ, **command.env},
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT if log_file is not None else None,
                start_new_session=True,
            )
        finally:
            if log_file is not None:
                os.close(log_file)
        return cls(command, process)

    @property
    def pid(self) -> int:
        """The guard's process id; the command is its child."""
        return self._process.pid

    @property
    def returncode(self) -> int | None:
        return self._process.returncode

    async def wait(self) -> int:
        """Wait for the end; the command's exit code, or 128 + a signal's number."""
        return await self._process.wait()

    async def stop(self) -> int:
        """Ask it to stop, and wait: its guard kills it after `grace_s`."""
        return await self._end(signal.SIGTERM, self.command.grace_s + _KILL_MARGIN_S)

    async def kill(self) -> int:
        """End it now, with its whole process group."""
        return await self._end(signal.SIGQUIT, _KILL_MARGIN_S)

    async def _end(self, signal_number: int, timeout_s: float) -> int:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(signal_number)
        try:
            return await asyncio.wait_for(self.wait(), timeout_s)
        except TimeoutError:
            self._process.kill()
            return await self.wait()

    def log_tail(self, num_lines: int = 20) -> list[str]:
        """The last lines of its log."""
        return log_tail(self.command.log_path, num_lines) if self.command.log_path is not None else []


def log_tail(path: Path, num_lines: int = 20) -> list[str]:
    """The last lines of a log file; none where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL_BYTES))
            lines = file.read().decode("utf-8", errors="replace").splitlines()
    except OSError:
        return []
    return [line.rstrip() for line in lines if line.strip()][-num_lines:]


def _fresh_log(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists():
            path.replace(path.with_name(path.name + ".1"))
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o644)
    except OSError as error:
        raise StackError(f"cannot write the log {path}: {error.strerror}") from error
