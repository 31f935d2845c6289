"""Stand-in processes, to see the supervision without a minute of engines."""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from platolm.stack.plan import ProcessPlan
from platolm.stack.settings import PORT_FIELDS, LocalStackSettings

SERVER = """
import http.server, os, subprocess, sys
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die":
            print("about to die", flush=True)
            os._exit(3)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
print("serving", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
"""Answers everything with 200, dies at `/die`, and has a child of its own in another session."""

MakePlan = Callable[..., ProcessPlan]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for sock in sockets:
            sock.bind(("127.0.0.1", 0))
        return [int(sock.getsockname()[1]) for sock in sockets]
    finally:
        for sock in sockets:
            sock.close()


@pytest.fixture
def settings(tmp_path: Path) -> LocalStackSettings:
    ports: dict[str, Any] = dict(zip(PORT_FIELDS, free_ports(len(PORT_FIELDS)), strict=True))
    return LocalStackSettings(
        data_dir=tmp_path / "data", simulator_model="none", respondent_model="none", startup_timeout_s=30, **ports
    )


@pytest.fixture
def stand_in(tmp_path: Path) -> MakePlan:
    """A plan for a small HTTP server."""

    def make(name: str, **fields: Any) -> ProcessPlan:
        [port] = free_ports(1)
        return ProcessPlan(
            name,
            (sys.executable, "-c", SERVER, str(port)),
            ready_url=f"http://127.0.0.1:{port}/",
            log_path=tmp_path / f"{name}.log",
            ports={f"--{name}-port": port},
            **fields,
        )

    return make


def processes_with(word: str) -> list[int]:
    """Processes, zombies apart, that carry `word` in their environment or work below it (Redis hides the former)."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() == psutil.STATUS_ZOMBIE or process.pid == os.getpid():
                continue
            if word in process.environ().values() or process.cwd().startswith(word):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue
    return found


def eventually(condition: Callable[[], bool], timeout_s: float = 30) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """A value that every process started by this test carries in its environment."""
    monkeypatch.setenv("STACK_TEST_MARK", str(tmp_path))
    return str(tmp_path)
