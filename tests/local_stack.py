"""`platolm up` as a test starts it: on free ports, in a folder of its own, over real engines and the demo pair."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from platolm.stack.settings import PORT_FIELDS, flag_of
from tests.redis_server import free_port

REPOSITORY = Path(__file__).resolve().parent.parent
START_TIMEOUT_S = 400.0


@dataclass
class RunningStack:
    """Addresses of a stack, and its process."""

    folder: Path
    ports: dict[str, int] = field(default_factory=lambda: {name: free_port() for name in PORT_FIELDS})
    process: subprocess.Popen[bytes] | None = None

    def url(self, port_field: str) -> str:
        return f"http://127.0.0.1:{self.ports[port_field]}"

    @property
    def api_url(self) -> str:
        return self.url("api_port")

    @property
    def log(self) -> Path:
        return self.folder / "up.log"

    def start(self) -> None:
        flags = [part for name, port in self.ports.items() for part in (flag_of(name), str(port))]
        argv = [sys.executable, "-m", "platolm", "up", "--data-dir", str(self.folder / "data"), *flags]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(argv, cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._wait_ready()

    def stop(self) -> int:
        """Ctrl-C; gives the exit status."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(90)

    def _wait_ready(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + START_TIMEOUT_S
        waiting_for = ["simulator_port", "respondent_port", "api_port", "writer_health_port", "worker_health_port"]
        while waiting_for:
            assert self.process.poll() is None, self.log.read_text()[-4000:]
            assert time.monotonic() < deadline, f"{waiting_for} not ready: {self.log.read_text()[-4000:]}"
            waiting_for = [name for name in waiting_for if not self._is_ready(name)]
            time.sleep(0.2)

    def _is_ready(self, port_field: str) -> bool:
        try:
            return httpx.get(f"{self.url(port_field)}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


def platolm(*args: str, cwd: Path, timeout_s: float = 300.0) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, its output piped."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    argv = [sys.executable, "-m", "platolm", *args]
    return subprocess.run(
        argv, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )
