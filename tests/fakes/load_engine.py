"""A fast fake engine for load, in a process of its own: how it is asked for, and what it says it has done."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx

SIDES = ("socratic", "platolm")
"""Model names, simulator first."""


@dataclass(frozen=True)
class Load:
    """What the engine is like. Times in seconds; `tokens` is the mean of an utterance, `ends_below` 0: never."""

    tokens: int = 32
    latency_s: float = 0.0
    token_latency_s: float = 0.0
    ends_below: int = 0
    max_model_len: int = 2048

    def argv(self) -> list[str]:
        return [
            *("--tokens", str(self.tokens), "--latency", str(self.latency_s)),
            *("--token-latency", str(self.token_latency_s), "--ends-below", str(self.ends_below)),
            *("--max-model-len", str(self.max_model_len)),
        ]


@dataclass(frozen=True)
class Snapshot:
    """What both sides had done at one moment. `seconds[n]` is the time with exactly n requests in flight.

    Moments are seconds of the machine's monotonic clock.
    """

    at: float
    answered: int
    generated_tokens: int
    prompt_tokens: int
    last_answer_at: float
    in_flight: int
    seconds: dict[int, float]

    def seconds_at(self, since: Snapshot) -> dict[int, float]:
        """By number of requests in flight, the seconds from an earlier moment on."""
        return {level: spent - since.seconds.get(level, 0.0) for level, spent in self.seconds.items()}


@dataclass(frozen=True)
class LoadEngine:
    """A running engine process, as its starter sees it. URLs end in /v1."""

    pid: int
    simulator_url: str
    respondent_url: str

    def snapshot(self) -> Snapshot:
        told = httpx.get(self.simulator_url.removesuffix("/v1") + "/served", timeout=30).raise_for_status().json()
        return Snapshot(**{**told, "seconds": {int(level): spent for level, spent in told["seconds"].items()}})


@contextmanager
def load_engine(load: Load) -> Iterator[LoadEngine]:
    """Serve both sides from a process of its own while entered."""
    argv = [sys.executable, "-m", "tests.fakes.load_server", *load.argv()]
    with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            ports = json.loads(process.stdout.readline())
            yield LoadEngine(process.pid, *(f"http://127.0.0.1:{ports[side]}/v1" for side in SIDES))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
