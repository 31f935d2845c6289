"""A Redis master, its replica, and three sentinels that watch over both, all on loopback."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis

from platolm.stack.plan import redis_server
from tests.redis_server import RedisServer, free_port, system_redis

MASTER = "main"
NUM_SENTINELS = 3
START_TIMEOUT_S = 60.0


@dataclass
class Sentinels:
    """`servers` are master and replica, in this order at the start."""

    servers: list[RedisServer]
    ports: list[int]
    password: str
    sentinel_password: str

    @property
    def addresses(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports)

    def master_port(self) -> int | None:
        """Where the first sentinel has the master now."""
        with redis.Redis(port=self.ports[0], password=self.sentinel_password, decode_responses=True) as sentinel:
            found = sentinel.sentinel_get_master_addr_by_name(MASTER)
        return int(found[1]) if found else None


@contextmanager
def sentinels(folder: Path, *, password: str, sentinel_password: str) -> Iterator[Sentinels]:
    """Runs while entered; the sentinels know one another and the replica, which is in step."""
    binary = system_redis() or redis_server()
    with ExitStack() as cleanup:
        folder.mkdir(parents=True, exist_ok=True)
        quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
        master = RedisServer(folder / "a", binary=binary, password=password, options=quick)
        master.start()
        cleanup.callback(master.stop)
        follows = {**quick, "replicaof": f"127.0.0.1 {master.port}"}
        replica = RedisServer(folder / "b", binary=binary, password=password, options=follows)
        replica.start()
        cleanup.callback(replica.stop)
        running = Sentinels([master, replica], [free_port() for _ in range(NUM_SENTINELS)], password, sentinel_password)
        for port in running.ports:
            cleanup.enter_context(_sentinel(folder, binary, port, running))
        _wait_until_they_know(running)
        yield running


@contextmanager
def _sentinel(folder: Path, binary: str, port: int, of: Sentinels) -> Iterator[None]:
    config = folder / f"sentinel-{port}.conf"  # it writes what it learns into this file
    config.write_text(
        f"bind 127.0.0.1\nport {port}\ndir {folder}\nrequirepass {of.sentinel_password}\n"
        f"sentinel sentinel-pass {of.sentinel_password}\n"
        f"sentinel monitor {MASTER} 127.0.0.1 {of.servers[0].port} 2\nsentinel auth-pass {MASTER} {of.password}\n"
        f"sentinel down-after-milliseconds {MASTER} 1500\nsentinel failover-timeout {MASTER} 5000\n"
    )
    with (folder / f"sentinel-{port}.log").open("ab") as log:
        process = subprocess.Popen([binary, str(config), "--sentinel"], stdout=log, stderr=log)
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def _wait_until_they_know(running: Sentinels) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not all(_knows(port, running.sentinel_password) for port in running.ports):
        assert time.monotonic() < deadline, "the sentinels did not find one another"
        time.sleep(0.1)


def _knows(port: int, password: str) -> bool:
    with redis.Redis(port=port, password=password, decode_responses=True) as sentinel:
        try:
            state = sentinel.sentinel_masters().get(MASTER, {})
        except redis.ConnectionError:
            return False
    return bool(state.get("num-other-sentinels") == NUM_SENTINELS - 1 and state.get("num-slaves") == 1)
