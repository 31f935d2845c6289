"""A run over four hosts and this machine: Redis on one, the engines on one, a worker on each of two, the rest here."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from tests.fakes.engine_process import EngineProcess, engine_process
from tests.integration.hosts.network import Host, network
from tests.integration.orchestrator.chaos.stack import ENDS_ONE_IN, MODELS
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.redis_server import RedisServer

REDIS, ENGINES, ONE, TWO = "redis", "engines", "one", "two"
PASSWORD = "between-hosts"
LATENCY_S = 0.4
PATIENCE_S = 100.0
REDIS_SETTINGS: dict[str, Any] = {"redis_password": PASSWORD, "redis_timeout_s": 3, "redis_peer_timeout_s": 3}
WORKER: dict[str, Any] = {
    "lease_s": 6,
    "max_in_flight": 48,
    "refresh_s": 0.5,
    "poll_interval_s": 0.1,
    "engines_patience_s": 2,
    **REDIS_SETTINGS,
}


@dataclass
class Worker:
    """A worker's process, and what it has logged."""

    process: Process

    def logged(self, event: str) -> int:
        return self.process.log.read_text().count(f'"event": "{event}"')

    def wait_for(self, event: str, *, after: int) -> None:
        """Until it has logged an event more often than `after`."""
        wait_until(lambda: self.logged(event) > after, what=event, timeout_s=PATIENCE_S, log=self.process.log)


@dataclass
class HostsStack:
    """All parts; `hosts` by name."""

    hosts: Mapping[str, Host]
    redis: RedisServer
    client: Redis
    engines: list[EngineProcess]
    api: Api
    workers: Mapping[str, Worker]

    def key(self, name: str, *ids: str) -> str:
        return DEFAULT_PREFIX + KEYS[name].format(*ids)

    def asked(self) -> list[Any]:
        return [asked for engine in self.engines for asked in engine.asked()]


@contextmanager
def hosts_stack(folder: Path, tokenizer_folder: Path) -> Iterator[HostsStack]:
    """Everything runs and is ready while entered."""
    with ExitStack() as cleanup:
        hosts = cleanup.enter_context(network([REDIS, ENGINES, ONE, TWO]))
        server = RedisServer(
            folder / "redis", host=hosts[REDIS].address, password=PASSWORD, command=hosts[REDIS].command
        )
        server.start()
        cleanup.callback(server.stop)
        client = cleanup.enter_context(Redis.from_url(server.url, decode_responses=True))
        engines = {
            model: cleanup.enter_context(
                engine_process(
                    tokenizer_folder,
                    model,
                    folder / f"{model}.requests",
                    host=hosts[ENGINES].address,
                    command=hosts[ENGINES].command,
                    ends_one_in=ENDS_ONE_IN,
                    latency_s=LATENCY_S,
                )
            )
            for model in MODELS.values()
        }
        url = server.url.replace(f":{PASSWORD}@", "")
        urls = [engine.url for engine in engines.values()]
        processes = [
            worker_process(
                folder, url, *urls, name=name, host=hosts[name].address, command=hosts[name].command, **WORKER
            )
            for name in (ONE, TWO)
        ]
        api = api_process(folder, url, **REDIS_SETTINGS)
        writer = writer_process(folder, url, segment_age_s=0.3, poll_interval_s=0.1, **REDIS_SETTINGS)
        for process in (api, writer, *processes):
            cleanup.callback(process.end)
            process.launch()
        for process in (api, writer, *processes):
            process.wait_ready(PATIENCE_S)
        workers = {name: Worker(process) for name, process in zip((ONE, TWO), processes, strict=True)}
        yield HostsStack(hosts, server, client, list(engines.values()), api_of(api), workers)
