"""Everything that a chaos run needs, each part a process of its own: Redis, engines, API, writer, workers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import redis

from platolm.conversation import ASSISTANT, USER
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from tests.fakes.engine_process import EngineProcess, engine_process
from tests.integration.orchestrator.chaos.lossy_redis import LossyRedis
from tests.integration.orchestrator.chaos.victims import Victim, patiently
from tests.integration.orchestrator.processes import Api, api_of, api_process, worker_process, writer_process

MODELS = {USER: "socratic", ASSISTANT: "platolm"}
NUM_WORKERS = 3
REPLICAS_A_SIDE = 2
MAX_IN_FLIGHT = 32
LEASE_S = 3.0
ENDS_ONE_IN = 12
"""A conversation ends at an utterance with this chance, so that lengths are mixed."""


@dataclass
class Stack:
    """All processes; the engines are the only ones that are never killed."""

    server: LossyRedis
    engines: list[EngineProcess]
    api: Victim
    writer: Victim
    workers: list[Victim]
    client: redis.Redis

    @property
    def http(self) -> Api:
        return api_of(self.api.process)

    def key(self, name: str, *ids: str) -> str:
        return DEFAULT_PREFIX + KEYS[name].format(*ids)

    def run_fields(self, run_id: str) -> dict[str, str]:
        """A run's hash, from Redis itself: the API may be dead."""
        return cast("dict[str, str]", patiently(lambda: self.client.hgetall(self.key("run", run_id))))

    def claims_of(self, pid: int) -> int:
        """Conversations that Redis holds for a worker process: no more utterances than these are in flight for it."""
        incarnations = cast("set[str]", patiently(lambda: self.client.smembers(self.key("workers"))))
        own = [name for name in incarnations if f".{pid}." in name]
        return sum(patiently(lambda: self._sizes([self.key("claims", name) for name in own])))

    def _sizes(self, hashes: list[str]) -> list[int]:
        with self.client.pipeline() as pipe:
            for key in hashes:
                pipe.hlen(key)
            return list(pipe.execute())

    def set_engines(self, **settings: Any) -> None:
        for engine in self.engines:
            engine.change(**settings)


@contextmanager
def chaos_stack(folder: Path, tokenizer_folder: Path, *, seed: int, **engines_are: Any) -> Iterator[Stack]:
    """Redis and engines run, the rest can be launched; at the end all that still lives is stopped."""
    server = LossyRedis(folder / "redis")
    with ExitStack() as cleanup:
        server.start()
        cleanup.callback(server.stop)
        client = cleanup.enter_context(redis.Redis.from_url(server.url, decode_responses=True))
        engines = [
            cleanup.enter_context(
                engine_process(
                    tokenizer_folder,
                    model,
                    folder / f"{model}-{number}.requests",
                    seed=seed + number,
                    ends_one_in=ENDS_ONE_IN,
                    kv_tokens=60_000,
                    **engines_are,
                )
            )
            for model in MODELS.values()
            for number in range(REPLICAS_A_SIDE)
        ]
        stack = _victims(folder, server, engines, client)
        for victim in (stack.api, stack.writer, *stack.workers):
            cleanup.callback(victim.process.end)
        yield stack


def _victims(folder: Path, server: LossyRedis, engines: list[EngineProcess], client: redis.Redis) -> Stack:
    urls = {model: ",".join(engine.url for engine in engines if engine.model == model) for model in MODELS.values()}
    workers = [
        worker_process(
            folder,
            server.url,
            urls[MODELS[USER]],
            urls[MODELS[ASSISTANT]],
            name=f"worker-{number}",
            lease_s=LEASE_S,
            max_in_flight=MAX_IN_FLIGHT,
            refresh_s=0.5,
            poll_interval_s=0.1,
        )
        for number in range(NUM_WORKERS)
    ]
    writer = writer_process(folder, server.url, feed_window=256, segment_age_s=0.3, poll_interval_s=0.05)
    return Stack(
        server,
        engines,
        Victim(api_process(folder, server.url), "PLATOLM_API_CRASH_AT"),
        Victim(writer, "PLATOLM_WRITER_CRASH_AT"),
        [Victim(worker, "PLATOLM_WORKER_CRASH_AT") for worker in workers],
        client,
    )
