"""The orchestrator's processes as things to be killed and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import httpx
import redis

from tests.integration.orchestrator.processes import Process, wait_until

T = TypeVar("T")

PATIENCE_S = 120.0


@dataclass
class Victim:
    """One process; `setting` names the variable that arms its crash points."""

    process: Process
    setting: str

    def launch(self, crash_at: str | None = None) -> None:
        """Start it, and do not wait until it is ready."""
        env = {**os.environ, **self.process.env, **({self.setting: crash_at} if crash_at else {})}
        with self.process.log.open("ab") as log:
            self.process.popen = subprocess.Popen(self.process.argv, env=env, stdout=log, stderr=log)

    @property
    def pid(self) -> int:
        return self._popen.pid

    def is_ready(self) -> bool:
        if self._popen.poll() is not None:
            raise AssertionError(f"died by itself: {self._popen.args!r}\n{self.process.log.read_text()[-4000:]}")
        try:
            return httpx.get(self.process.ready_url, timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def wait_ready(self) -> None:
        wait_until(self.is_ready, what=f"{self.setting} ready", timeout_s=PATIENCE_S, log=self.process.log)

    def freeze(self) -> None:
        """From here on it does nothing more."""
        self._popen.send_signal(signal.SIGSTOP)

    def kill(self) -> None:
        self.process.kill()

    def end(self) -> None:
        """Stop it as an operator does."""
        status = self.process.send(signal.SIGTERM)
        assert status == 0, f"exit status {status} after SIGTERM\n{self.process.log.read_text()[-4000:]}"

    def ask_to_stop(self) -> None:
        self._popen.send_signal(signal.SIGTERM)

    def wait_killed(self) -> bool:
        """Wait for its end: True, it was killed; False, it stopped in good order."""
        try:
            status = self._popen.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it never came there\n{self.process.log.read_text()[-4000:]}") from None
        assert status in (0, -signal.SIGKILL), f"exit status {status}\n{self.process.log.read_text()[-4000:]}"
        return status != 0

    @property
    def _popen(self) -> subprocess.Popen[bytes]:
        assert self.process.popen is not None
        return self.process.popen


def patiently(call: Callable[[], T]) -> T:
    """One call to a Redis that may be away for a moment."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return call()
        except (redis.RedisError, OSError):
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)
