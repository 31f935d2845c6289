"""Keys, bounds, draining, and what is left behind when something is killed."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

KEY = "b7c1e9d2a4f64f0e"
LONG: dict[str, Any] = {"messages": [{"role": "user", "content": "Go on."}], "max_tokens": 7000, "ignore_eos": True}
SHORTER: dict[str, Any] = {**LONG, "max_tokens": 1500}


@pytest.fixture(scope="module")
def front(launch: Callable[..., Any], respondent_gateway: Any, tiny_model: Path) -> Callable[..., Any]:
    """Another gateway before the shared respondent's engine: quick to start, free to be killed."""

    def start(**settings: Any) -> Any:
        engine = f"http://127.0.0.1:{respondent_gateway.engine_port}/v1"
        service = launch("respondent", model=tiny_model, engine_url=engine, **settings)
        service.wait_ready()
        return service

    return start


class StreamReader(threading.Thread):
    """Reads a streamed answer in the background."""

    def __init__(self, service: Any, body: dict[str, Any]) -> None:
        super().__init__()
        self.service, self.body = service, body
        self.begun = threading.Event()
        self.lines: list[str] = []

    def run(self) -> None:
        url = self.service.url + "/v1/chat/completions"
        body = {**self.body, "stream": True}
        with (
            suppress(httpx.TransportError),  # where the server is ended at once
            httpx.stream("POST", url, json=body, timeout=60, trust_env=False, verify=False) as response,
        ):
            for line in response.iter_lines():
                if line.startswith("data:"):
                    self.lines.append(line)
                    self.begun.set()


def eventually(condition: Callable[[], bool], timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.02)


def engine_metric(service: Any, name: str) -> float:
    text = httpx.get(f"http://127.0.0.1:{service.engine_port}/metrics", trust_env=False, verify=False).text
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(name))


def tree(pid: int) -> list[psutil.Process]:
    return list(psutil.Process(pid).children(recursive=True))


def gone(processes: list[psutil.Process]) -> bool:
    return not any(p.is_running() and p.status() != psutil.STATUS_ZOMBIE for p in processes)


def test_api_key(front: Callable[..., Any]) -> None:
    service = front(api_keys=f"other-key-1234,{KEY}")
    small = {**LONG, "max_tokens": 1}
    for headers in ({}, {"Authorization": "Bearer nonsense"}, {"Authorization": f"Basic {KEY}"}):
        refused = service.post("/v1/chat/completions", small, headers=headers)
        assert refused.status_code == 401
        assert refused.json()["error"]["code"] == "invalid_api_key"
    assert service.get("/v1/models").status_code == 401
    good = {"Authorization": f"Bearer {KEY}"}
    assert service.post("/v1/chat/completions", small, headers=good).status_code == 200
    assert [service.get(path).status_code for path in ("/healthz", "/readyz", "/metrics")] == [200, 200, 200]
    assert KEY not in service.log
    assert service.stop() == 0


def test_bounds(front: Callable[..., Any]) -> None:
    service = front(max_body_bytes=2000, max_in_flight=1, drain_timeout_s=0)
    large = service.post("/v1/chat/completions", {"messages": [{"role": "user", "content": "z" * 3000}]})
    assert large.status_code == 413
    assert large.json()["error"]["code"] == "body_too_large"
    reader = StreamReader(service, LONG)
    reader.start()
    assert reader.begun.wait(20)
    busy = service.post("/v1/chat/completions", LONG)
    assert busy.status_code == 429
    assert busy.headers["retry-after"] == "1"
    assert service.stop() == 0
    reader.join(timeout=20)
    assert reader.lines[-1] != "data: [DONE]"


def test_sigterm_finishes_the_stream_in_flight(front: Callable[..., Any]) -> None:
    service = front(drain_timeout_s=60)
    reader = StreamReader(service, SHORTER)
    reader.start()
    assert reader.begun.wait(20)
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: service.get("/readyz").status_code == 503)
    refused = service.post("/v1/chat/completions", LONG)
    assert refused.status_code == 503
    assert refused.headers["retry-after"]
    assert refused.json()["error"]["code"] == "shutting_down"
    reader.join(timeout=60)
    assert service.process.wait(timeout=30) == 0
    assert reader.lines[-1] == "data: [DONE]"
    assert json.loads(reader.lines[-2].removeprefix("data:"))["choices"][0]["finish_reason"] == "length"


def test_second_signal_ends_it_at_once(front: Callable[..., Any], respondent_gateway: Any) -> None:
    service = front(drain_timeout_s=60)
    readers = [StreamReader(service, {**LONG, "n": 8}) for _ in range(2)]
    for reader in readers:
        reader.start()
    assert readers[0].begun.wait(20)
    service.process.send_signal(signal.SIGTERM)
    eventually(lambda: service.get("/readyz").status_code == 503)
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(timeout=20) == 128 + signal.SIGTERM  # far sooner than the drain
    for reader in readers:
        reader.join(timeout=20)
    eventually(lambda: engine_metric(respondent_gateway, "vllm:num_requests_running") == 0)


@pytest.mark.parametrize("stream", [True, False])
def test_leaving_cancels_the_engine_request(respondent_gateway: Any, stream: bool) -> None:
    before = engine_metric(respondent_gateway, "vllm:generation_tokens_total")
    body = json.dumps({**LONG, "stream": stream, "n": 16}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", respondent_gateway.port)) as sock:
        sock.sendall(head + body)
        eventually(lambda: engine_metric(respondent_gateway, "vllm:num_requests_running") > 0)
    eventually(lambda: engine_metric(respondent_gateway, "vllm:num_requests_running") == 0)
    assert engine_metric(respondent_gateway, "vllm:generation_tokens_total") - before < 16 * 6000
    eventually(lambda: "requests_in_flight 0.0" in respondent_gateway.get("/metrics").text)


def test_engine_killed(need_vllm: None, launch: Callable[..., Any], tiny_model: Path) -> None:
    service = launch("simulator", model=tiny_model)
    service.wait_ready()
    processes = tree(service.process.pid)
    core = next(p for p in processes if "EngineCore" in "".join(p.cmdline()) or "EngineCore" in p.name())
    core.kill()
    assert service.process.wait(timeout=60) == 1
    assert "error: the engine ended by itself" in service.log
    assert "  engine | " in service.log
    eventually(lambda: gone(processes))


def test_gateway_killed_leaves_no_orphan(need_vllm: None, launch: Callable[..., Any], tiny_model: Path) -> None:
    service = launch("simulator", model=tiny_model)
    eventually(lambda: len(tree(service.process.pid)) >= 2, 60)  # while it starts
    processes = tree(service.process.pid)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    eventually(lambda: gone(processes), 30)
    service = launch("simulator", model=tiny_model)
    service.wait_ready()
    processes = tree(service.process.pid)
    assert any("EngineCore" in "".join(p.cmdline()) for p in processes)
    os.kill(service.process.pid, signal.SIGKILL)
    service.process.wait()
    eventually(lambda: gone(processes), 30)


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield int(sock.getsockname()[1])


def test_mistakes_are_found_before_the_engine_starts(
    need_vllm: None, launch: Callable[..., Any], tiny_model: Path, tmp_path: Path, busy_port: int
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_text("{}")
    (tmp_path / "bare" / "model.safetensors").write_bytes(b"")
    cases: list[tuple[dict[str, Any], int, str]] = [
        ({"model": tmp_path / "nowhere"}, 2, "is not a folder"),
        ({"model": tmp_path / "empty"}, 2, "no config.json"),
        ({"model": tmp_path / "bare"}, 2, "no tokenizer.json"),
        ({"model": tiny_model, "port": busy_port}, 1, "choose another port with --port"),
        ({"model": tiny_model, "engine_port": busy_port}, 1, "choose another port with --engine-port"),
        ({"model": tiny_model, "api_keys": "changeme123"}, 2, "placeholder"),
        ({"model": tiny_model, "profile": "bard"}, 2, "no profile 'bard' here: choose one of platolm"),
    ]
    for settings, code, words in cases:
        service = launch("respondent", **settings)
        assert service.process.wait(timeout=30) == code, service.log
        assert words in service.log
        assert len(service.log.splitlines()) == 1, service.log


def test_engine_that_cannot_start(need_vllm: None, launch: Callable[..., Any], tiny_model: Path) -> None:
    service = launch("respondent", model=tiny_model, engine_args="--no-such-flag")
    assert service.process.wait(timeout=90) == 1
    assert "--no-such-flag" in service.log
    assert "error: the engine ended by itself with code 2" in service.log


def test_engine_that_takes_too_long(need_vllm: None, launch: Callable[..., Any], tiny_model: Path) -> None:
    service = launch("respondent", model=tiny_model, startup_timeout_s=1)
    eventually(lambda: len(tree(service.process.pid)) >= 2 or service.process.poll() is not None)
    assert service.process.wait(timeout=60) == 1
    assert "error: the engine was not ready within 1 s" in service.log
