"""The hook before a model server stops: it waits for what the engine has in hand, and no longer."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from services.gateway.quiet import num_requests, wait_until_quiet

QUIET = 'vllm:num_requests_running{engine="0"} 0.0\nvllm:num_requests_waiting{engine="0"} 0.0\n'
BUSY = QUIET.replace("} 0.0", "} 2.0", 1)


class Engine:
    """Answers what it is given, one after another, the last again and again, on a clock of its own."""

    def __init__(self, *answers: str) -> None:
        self._answers = list(answers)
        self.now = 0.0

    def read(self) -> str:
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def wait(self, settle_s: float, timeout_s: float, read: Callable[[], str] | None = None) -> bool:
        return wait_until_quiet(
            read or self.read, settle_s=settle_s, timeout_s=timeout_s, clock=lambda: self.now, sleep=self.sleep
        )


def test_cores_are_summed_and_other_lines_are_not_read() -> None:
    text = BUSY + 'vllm:num_requests_waiting{engine="1"} 3.0\n# TYPE vllm:num_requests_running gauge\nother 7\n'
    assert num_requests(text) == 5
    assert num_requests("vllm:num_requests_running 4.0") == 4
    assert num_requests("") == 0


def test_it_waits_for_what_is_in_hand() -> None:
    engine = Engine(*[BUSY] * 6, QUIET)
    assert engine.wait(settle_s=2, timeout_s=60)
    assert engine.now == pytest.approx(2.5 + 2.0)


def test_a_pause_between_two_utterances_is_no_end() -> None:
    engine = Engine(BUSY, QUIET, QUIET, BUSY, QUIET)
    assert engine.wait(settle_s=2, timeout_s=60)
    assert engine.now == pytest.approx(1.5 + 2.0)


def test_its_time_is_bounded() -> None:
    engine = Engine(BUSY)
    assert not engine.wait(settle_s=2, timeout_s=10)
    assert engine.now == 10


def test_an_engine_that_is_gone_has_nothing_to_finish() -> None:
    def refused() -> str:
        raise ConnectionRefusedError

    engine = Engine("")
    assert engine.wait(settle_s=10, timeout_s=60, read=refused)
    assert engine.now == 0


def test_an_engine_that_takes_its_time_has() -> None:
    answers: list[str | None] = [None, None, QUIET, QUIET]

    def read() -> str:
        answer = answers.pop(0)
        if answer is None:
            raise TimeoutError
        return answer

    engine = Engine("")
    assert engine.wait(settle_s=1, timeout_s=60, read=lambda: read() if answers else QUIET)
    assert engine.now == pytest.approx(0.5 + 1.0)


class Metrics(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path in ("/quiet", "/busy") else 404)
        self.end_headers()
        self.wfile.write((BUSY if self.path == "/busy" else QUIET).encode())

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), Metrics) as http:
        thread = Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "code"), [("/quiet", 0), ("/busy", 1), ("/missing", 0)])
def test_the_command(server: str, path: str, code: int) -> None:
    argv = [sys.executable, "-m", "services.gateway.quiet", server + path, "--settle-s", "0", "--timeout-s", "0"]
    assert subprocess.run(argv, capture_output=True, text=True, check=False).returncode == code


def test_nothing_heavy_is_loaded() -> None:
    code = "import sys, services.gateway.quiet; print(sorted({'fastapi', 'pydantic', 'aiohttp'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
