"""The orchestrator's real processes before a fast fake engine, and what they use: processor time, memory, answers.

Redis, API, writer and workers are processes as in production; only the engines are fakes, in a process of their own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import orjson
import psutil
import redis

from tests.fakes.load_engine import Load, LoadEngine, Snapshot, load_engine
from tests.integration.orchestrator.processes import Process, api_process, wait_until, worker_process, writer_process
from tests.redis_server import RedisServer

MIB = 2**20
SUBMIT_TIMEOUT_S = 600.0
MEANWHILE_S = 0.2
FEED_WINDOW = 8192


@dataclass(frozen=True)
class Window:
    """What happened between two moments. `cpu_s`: processor seconds, user and system, by process name."""

    seconds: float
    utterances: int
    generated_tokens: int
    prompt_tokens: int
    cpu_s: Mapping[str, float]

    @property
    def utterances_per_s(self) -> float:
        return self.utterances / self.seconds

    def cores(self, *names: str) -> float:
        """Processor seconds a second of these processes."""
        return sum(self.cpu_s[name] for name in names) / self.seconds


@dataclass
class LoadedStack:
    """The running processes."""

    folder: Path
    engine: LoadEngine
    redis_server: RedisServer
    api: Process
    writer: Process
    max_in_flight: int
    workers: list[Process] = field(default_factory=list)

    @property
    def api_url(self) -> str:
        return self.api.ready_url.removesuffix("/readyz")

    def add_worker(self) -> None:
        worker = worker_process(
            self.folder,
            self.redis_server.url,
            self.engine.simulator_url,
            self.engine.respondent_url,
            name=f"worker-{len(self.workers)}",
            max_in_flight=self.max_in_flight,
            log_level="WARNING",
        )
        self.workers.append(worker)
        worker.start()

    def end_worker(self) -> None:
        self.workers.pop().end()

    def kill_workers(self) -> None:
        for worker in self.workers:
            if worker.popen is not None:
                worker.kill()

    def submit(self, body: Mapping[str, Any]) -> str:
        """Post a run; gives its id."""
        headers = {"content-type": "application/json"}
        url = f"{self.api_url}/v1/runs"
        response = httpx.post(url, content=orjson.dumps(body), headers=headers, timeout=SUBMIT_TIMEOUT_S)
        assert response.status_code == 201, response.text[:2000]
        return str(response.json()["id"])

    def progress(self, run_id: str) -> dict[str, Any]:
        answer: dict[str, Any] = httpx.get(f"{self.api_url}/v1/runs/{run_id}", timeout=60).raise_for_status().json()
        return answer

    def check(self, run_id: str) -> None:
        """A run that paused by itself, or lost conversations, gives no figure."""
        progress = self.progress(run_id)
        assert progress["state"] in ("running", "completed"), f"{run_id} is {progress['state']}: {progress['pause']}"
        assert progress["dead"] == 0, f"{progress['dead']} conversations of {run_id} are dead"

    def command(self, run_id: str, verb: str) -> None:
        """`pause`, `resume` or `cancel` a run; one that is over by now stays as it is."""
        answer = httpx.post(f"{self.api_url}/v1/runs/{run_id}/{verb}", timeout=60)
        if answer.status_code != httpx.codes.CONFLICT:
            answer.raise_for_status()

    def records(self, run_id: str) -> list[dict[str, Any]]:
        """The run's dataset."""
        response = httpx.get(f"{self.api_url}/v1/runs/{run_id}/dataset", timeout=SUBMIT_TIMEOUT_S).raise_for_status()
        return [orjson.loads(line) for line in response.content.split(b"\n") if line]

    def wait_answered(self, count: int, timeout_s: float = 120.0) -> None:
        """Until the engines have answered so many requests more."""
        goal = self.engine.snapshot().answered + count
        self.wait(lambda: self.engine.snapshot().answered >= goal, what=f"{count} answers", timeout_s=timeout_s)

    def wait(self, condition: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Until `condition()` holds; the log of the first worker is shown where it does not."""
        wait_until(condition, what=what, timeout_s=timeout_s, log=self.workers[0].log)

    def window(self, seconds: float, meanwhile: Callable[[], None] | None = None) -> Window:
        """Look on for so long; `meanwhile` is called again and again."""
        before, cpu_before = self.engine.snapshot(), self._cpu_s()
        while (left := before.at + seconds - time.monotonic()) > 0:
            if meanwhile is not None:
                meanwhile()
            time.sleep(min(left, MEANWHILE_S))
        after, cpu_after = self.engine.snapshot(), self._cpu_s()
        return _window(before, after, {name: cpu_after[name] - cpu_before[name] for name in cpu_after})

    def redis_peak_bytes(self) -> int:
        """The most that Redis has held."""
        return int(self._redis_info("memory")["used_memory_peak"])

    def _redis_info(self, section: str) -> dict[str, Any]:
        with redis.Redis.from_url(self.redis_server.url) as client:
            info: dict[str, Any] = client.info(section)
            return info

    def _cpu_s(self) -> dict[str, float]:
        """Processor seconds so far; `worker` is all workers."""
        return {
            "worker": sum(cpu_seconds(pid_of(worker)) for worker in self.workers),
            "redis": cpu_seconds(int(self._redis_info("server")["process_id"])),
            "api": cpu_seconds(pid_of(self.api)),
            "writer": cpu_seconds(pid_of(self.writer)),
            "engine": cpu_seconds(self.engine.pid),
        }


@contextmanager
def loaded_stack(load: Load, *, max_in_flight: int, feed_window: int = FEED_WINDOW) -> Iterator[LoadedStack]:
    """Everything started, with one worker of `max_in_flight` conversations; ended when left."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory()))
        engine = ending.enter_context(load_engine(load))
        server = RedisServer(folder / "redis")
        server.start()
        ending.callback(server.stop)
        api = api_process(folder, server.url, log_level="WARNING")
        writer = writer_process(folder, server.url, feed_window=feed_window, log_level="WARNING")
        stack = LoadedStack(folder, engine, server, api, writer, max_in_flight)
        for process in (api, writer):
            ending.callback(process.end)
            process.start()
        ending.callback(stack.kill_workers)
        stack.add_worker()
        yield stack


def pid_of(process: Process) -> int:
    assert process.popen is not None
    return process.popen.pid


def cpu_seconds(pid: int) -> float:
    """User and system time of a process with its threads, of its children and of those that have ended."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    spent = times.user + times.system + times.children_user + times.children_system
    return float(spent) + sum(cpu_seconds(child.pid) for child in process.children())


def peak_rss_mib(pid: int) -> float:
    """The most memory that a process has had resident, as the kernel keeps it."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise AssertionError(f"/proc/{pid}/status has no VmHWM")


def questions(count: int) -> list[dict[str, str]]:
    """Different seeds of a line each, as people ask."""
    return [
        {"question": f"My letter number {number} about the old garden came back from the post; what would you do now?"}
        for number in range(count)
    ]


def _window(before: Snapshot, after: Snapshot, cpu_s: Mapping[str, float]) -> Window:
    return Window(
        seconds=after.at - before.at,
        utterances=after.answered - before.answered,
        generated_tokens=after.generated_tokens - before.generated_tokens,
        prompt_tokens=after.prompt_tokens - before.prompt_tokens,
        cpu_s=cpu_s,
    )
