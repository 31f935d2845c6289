"""The orchestrator's processes as tests start, kill and end them."""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.redis_server import free_port


@dataclass
class Process:
    """One child process; its output is in `log`."""

    argv: list[str]
    env: dict[str, str]
    log: Path
    ready_url: str
    popen: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> Process:
        self.launch()
        return self.wait_ready()

    def launch(self) -> None:
        """Start it, and do not wait until it is ready."""
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(self.argv, env={**os.environ, **self.env}, stdout=log, stderr=log)

    def wait_ready(self, timeout_s: float = 60.0) -> Process:
        wait_until(self._is_ready, what=f"{self.log.stem} ready", timeout_s=timeout_s, log=self.log)
        return self

    def send(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; gives the exit status."""
        assert self.popen is not None
        process, self.popen = self.popen, None
        process.send_signal(number)
        try:
            return process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def kill(self) -> None:
        self.send(signal.SIGKILL)

    def end(self) -> None:
        if self.popen is not None and self.popen.poll() is None:
            self.send(signal.SIGTERM)

    def _is_ready(self) -> bool:
        assert self.popen is not None
        assert self.popen.poll() is None, self.log.read_text()[-3000:]
        try:
            return httpx.get(self.ready_url, timeout=2).status_code == 200
        except httpx.TransportError:
            return False


def wait_until(condition: Callable[[], Any], *, what: str, timeout_s: float = 60.0, log: Path | None = None) -> None:
    """Poll until `condition()` holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            tail = log.read_text()[-3000:] if log else ""
            raise AssertionError(f"not within {timeout_s} s: {what}\n{tail}")
        time.sleep(0.05)


def api_process(folder: Path, redis_url: str, **settings: object) -> Process:
    port = free_port()
    env = {
        "PLATOLM_API_PORT": str(port),
        "PLATOLM_API_REDIS_URL": redis_url,
        "PLATOLM_API_DATA_DIR": str(folder / "data"),
        **{f"PLATOLM_API_{name.upper()}": str(value) for name, value in settings.items()},
    }
    argv = [sys.executable, "-m", "services.orchestrator.app"]
    return Process(argv, env, folder / "api.log", f"http://127.0.0.1:{port}/readyz")


def writer_process(folder: Path, redis_url: str, *, name: str = "writer", **settings: object) -> Process:
    """Feeds and writes what lies in the data folder of `api_process`."""
    port = free_port()
    env = {
        "PLATOLM_WRITER_HEALTH_PORT": str(port),
        "PLATOLM_WRITER_REDIS_URL": redis_url,
        "PLATOLM_WRITER_DATA_DIR": str(folder / "data"),
        **{f"PLATOLM_WRITER_{key.upper()}": str(value) for key, value in settings.items()},
    }
    argv = [sys.executable, "-m", "services.orchestrator.writer"]
    return Process(argv, env, folder / f"{name}.log", f"http://127.0.0.1:{port}/readyz")


def worker_process(
    folder: Path,
    redis_url: str,
    simulator_url: str,
    respondent_url: str,
    *,
    name: str = "worker",
    host: str = "127.0.0.1",
    command: Sequence[str] = (),
    **settings: object,
) -> Process:
    """`command` goes in front of its command line, `host` is where its health is told."""
    port = free_port()
    env = {
        "PLATOLM_WORKER_HEALTH_HOST": host,
        "PLATOLM_WORKER_HEALTH_PORT": str(port),
        "PLATOLM_WORKER_REDIS_URL": redis_url,
        "PLATOLM_WORKER_SIMULATOR_URLS": simulator_url,
        "PLATOLM_WORKER_RESPONDENT_URLS": respondent_url,
        **{f"PLATOLM_WORKER_{key.upper()}": str(value) for key, value in settings.items()},
    }
    argv = [*command, sys.executable, "-m", "services.orchestrator.worker"]
    return Process(argv, env, folder / f"{name}.log", f"http://{host}:{port}/readyz")


# One for all: making a client takes 20 ms of processor time. A connection each, since servers are killed here.
_HTTP = httpx.Client(limits=httpx.Limits(max_keepalive_connections=0))
atexit.register(_HTTP.close)


@dataclass
class Api:
    """The API's HTTP, as a client sees it."""

    url: str

    def submit(self, body: dict[str, Any], **headers: str) -> httpx.Response:
        return _HTTP.post(f"{self.url}/v1/runs", json=body, headers=headers, timeout=30)

    def run(self, run_id: str) -> dict[str, Any]:
        """Progress; a 503 (Redis away for a moment) is asked again."""
        while (response := _HTTP.get(f"{self.url}/v1/runs/{run_id}", timeout=30)).status_code == 503:
            time.sleep(0.1)
        answer: dict[str, Any] = response.raise_for_status().json()
        return answer

    def runs(self) -> list[dict[str, Any]]:
        """Every run's progress, newest first; none while Redis is away."""
        response = _HTTP.get(f"{self.url}/v1/runs", timeout=30)
        runs: list[dict[str, Any]] = [] if response.status_code == 503 else response.raise_for_status().json()["runs"]
        return runs

    def act(self, run_id: str, action: str, **body: object) -> dict[str, Any]:
        """Pause, resume, cancel or retry-dead a run."""
        answer: dict[str, Any] = self.post(run_id, action, **body).raise_for_status().json()
        return answer

    def post(self, run_id: str, action: str, **body: object) -> httpx.Response:
        """The same, whatever comes of it."""
        return _HTTP.post(f"{self.url}/v1/runs/{run_id}/{action}", json=body or None, timeout=30)

    def dataset(self, run_id: str) -> list[dict[str, Any]]:
        response = _HTTP.get(f"{self.url}/v1/runs/{run_id}/dataset", timeout=60).raise_for_status()
        return [json.loads(line) for line in response.text.split("\n") if line]

    def dead(self, run_id: str) -> list[dict[str, Any]]:
        answer = _HTTP.get(f"{self.url}/v1/runs/{run_id}/dead", timeout=30).raise_for_status().json()
        dead: list[dict[str, Any]] = answer["dead"]
        return dead

    def wait_completed(self, run_id: str, timeout_s: float = 90.0, log: Path | None = None) -> dict[str, Any]:
        wait_until(lambda: self.run(run_id)["state"] == "completed", what="run completed", timeout_s=timeout_s, log=log)
        return self.run(run_id)


def api_of(process: Process) -> Api:
    return Api(process.ready_url.removesuffix("/readyz"))
