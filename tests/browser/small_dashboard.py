"""Everything behind the dashboard but real engines: Redis, API, writer, worker, both gateways, as processes."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.browser.speaking import SpeakingEngine
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.redis_server import RedisServer, free_port

MAX_MODEL_LEN = 8192
"""In bytes, of which the fake engines' tokens are."""

MAX_TURNS = 6
SLOW_S = 1.5
"""Latency of an utterance that a test looks at while it is made."""


@dataclass
class Dashboard:
    """What runs, and what tests ask of it. Both engines are in this process, and a test may change them."""

    redis: RedisServer
    api_process: Process
    simulator: SpeakingEngine
    respondent: SpeakingEngine
    data_dir: Path
    _open: list[str] = field(default_factory=list)

    @property
    def api(self) -> Api:
        return api_of(self.api_process)

    @property
    def url(self) -> str:
        return self.api.url

    def submit(self, conversations: int, *, seeds: Sequence[dict[str, Any]] = (), **spec: Any) -> str:
        """A new run of `MAX_TURNS` utterances a conversation unless its endings are given; its id."""
        endings = {"max_turns": MAX_TURNS, "repetition": False, "context_tokens": MAX_MODEL_LEN}
        spec["endings"] = {**endings, **spec.get("endings", {})}
        response = self.api.submit({"spec": {"conversations": conversations, **spec}, "seeds": list(seeds)})
        assert response.status_code == 201, response.text
        run_id = str(response.json()["id"])
        self._open.append(run_id)
        return run_id

    def finished(self, conversations: int, **spec: Any) -> str:
        """A run that is in its dataset already; its id."""
        run_id = self.submit(conversations, **spec)
        self.api.wait_completed(run_id)
        self._open.remove(run_id)
        return run_id

    def going(self, conversations: int = 1000, *, latency_s: float = SLOW_S, **spec: Any) -> str:
        """A run whose engines take their time, with conversations in flight; its id."""
        self.say(latency_s=latency_s)
        run_id = self.submit(conversations, **{"limits": {"in_flight": 6}, **spec})
        wait_until(lambda: self.api.run(run_id)["in_flight"] > 0, what="conversations in flight")
        return run_id

    def say(self, phrases: Sequence[str] = (), *, latency_s: float = 0.0, token_latency_s: float = 0.0) -> None:
        """From now on, on both sides; a token is a byte."""
        for engine in (self.simulator, self.respondent):
            engine.phrases, engine.latency_s, engine.token_latency_s = phrases, latency_s, token_latency_s

    def conversations(self, run_id: str, state: str) -> list[dict[str, Any]]:
        """As the API lists those of one state."""
        url = f"{self.url}/v1/runs/{run_id}/conversations"
        answer = httpx.get(url, params={"state": state, "limit": 1000}, timeout=30).raise_for_status().json()
        listed: list[dict[str, Any]] = answer["conversations"]
        return listed

    def conversation(self, conversation_id: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}/v1/conversations/{conversation_id}", timeout=30).raise_for_status()
        detail: dict[str, Any] = answer.json()
        return detail

    def in_flight(self, run_id: str) -> str:
        """Id of a conversation that a worker has."""
        wait_until(lambda: self.conversations(run_id, "in_flight"), what="a conversation in flight")
        return str(self.conversations(run_id, "in_flight")[0]["id"])

    def calm_down(self) -> None:
        """End what a test has left behind: its runs, and what engines say."""
        self.say()
        for run_id in self._open:
            if self.api.run(run_id)["state"] in ("running", "paused"):
                self.api.act(run_id, "cancel")
        for run_id in self._open:
            wait_until(lambda run_id=run_id: self._is_over(run_id), what=f"{run_id} over")  # type: ignore[misc]
        self._open.clear()

    def _is_over(self, run_id: str) -> bool:
        return self.api.run(run_id)["state"] in ("cancelled", "completed")


@contextmanager
def small_dashboard(folder: Path, tokenizer_folder: Path, *, gateways: bool = True) -> Iterator[Dashboard]:
    """Run while entered. `gateways` are for talking."""
    with ExitStack() as ending:
        redis = RedisServer(folder / "redis")
        redis.start()
        ending.callback(redis.stop)
        engines = [SpeakingEngine(tokenizer_folder, model, MAX_MODEL_LEN) for model in ("socratic", "platolm")]
        for engine in engines:
            ending.enter_context(engine.running())
        sides = dict(zip(("simulator", "respondent"), engines, strict=True))
        speaking = {side: gateway(folder, tokenizer_folder, side, engine) for side, engine in sides.items() if gateways}
        settings = {f"{side}_url": f"{api_of(process).url}/v1" for side, process in speaking.items()}
        api = api_process(folder, redis.url, log_level="WARNING", **settings)
        writer = writer_process(folder, redis.url, segment_age_s=0.2, poll_interval_s=0.05)
        worker = worker_process(
            folder, redis.url, *(engine.url for engine in engines), max_in_flight=32, poll_interval_s=0.05
        )
        for process in (api, writer, worker, *speaking.values()):
            ending.callback(process.end)
            process.start()
        yield Dashboard(redis, api, sides["simulator"], sides["respondent"], folder / "data")


def gateway(folder: Path, tokenizer_folder: Path, side: str, engine: SpeakingEngine) -> Process:
    """A side's gateway before a fake engine."""
    port = free_port()
    values = {
        "PORT": port,
        "MODEL": tokenizer_folder,
        "SERVED_MODEL_NAME": engine.model,
        "ENGINE_URL": engine.url,
        "LOG_LEVEL": "warning",
    }
    env = {f"PLATOLM_{side.upper()}_{name}": str(value) for name, value in values.items()}
    argv = [sys.executable, "-m", f"services.{side}"]
    return Process(argv, env, folder / f"{side}.log", f"http://127.0.0.1:{port}/readyz")
