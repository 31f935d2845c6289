"""Redis with a password over TLS, and what is told where either is wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from services.gateway.errors import MISUSE, StartError
from services.orchestrator.queue import check_redis, open_redis
from services.orchestrator.redis_settings import RedisSettings
from tests.redis_server import RedisServer
from tests.tls_redis import Authority, TlsRedis, plain_answer_of, tls_redis_binary

PASSWORD = "over-tls"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsRedis]:
    binary = tls_redis_binary()
    if binary is None:
        pytest.skip("no redis-server with TLS on this system")
    folder = tmp_path_factory.mktemp("tls")
    server = TlsRedis(folder / "redis", Authority(folder), binary=binary, password=PASSWORD, asks_clients=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def files(server: TlsRedis) -> dict[str, Any]:
    cert_file, key_file = server.authority.issue("worker")
    return {"redis_ca_file": server.authority.ca_file, "redis_cert_file": cert_file, "redis_key_file": key_file}


async def test_settings_alone_reach_it(server: TlsRedis, files: dict[str, Any]) -> None:
    settings = RedisSettings(redis_url=server.bare_url, redis_password=PASSWORD, **files)
    async with open_redis(settings) as client:
        assert await client.ping()
    assert b"PONG" not in plain_answer_of(server.port)


def refusal(**given: Any) -> str:
    with pytest.raises(StartError) as refused:
        check_redis(RedisSettings(**given))
    assert refused.value.exit_code == MISUSE
    assert PASSWORD not in str(refused.value)
    return str(refused.value)


def test_what_is_wrong_is_told(server: TlsRedis, files: dict[str, Any], tmp_path: Path) -> None:
    url = server.bare_url
    check_redis(RedisSettings(redis_url=url, redis_password=PASSWORD, **files))
    assert "refuses the password" in refusal(redis_url=url, redis_password="another", **files)
    assert "set REDIS_PASSWORD" in refusal(redis_url=url, **files)
    foreign = {**files, "redis_ca_file": Authority(tmp_path).ca_file}
    assert "certificate is not trusted" in refusal(redis_url=url, redis_password=PASSWORD, **foreign)


def test_one_that_is_away_may_come(tmp_path: Path) -> None:
    check_redis(RedisSettings(redis_url=RedisServer(tmp_path / "redis").url))


@pytest.mark.parametrize("process", ["app", "worker", "writer"])
def test_a_process_says_so_and_ends(server: TlsRedis, process: str, tmp_path: Path) -> None:
    prefix = {"app": "API"}.get(process, process.upper())
    env = {
        f"PLATOLM_{prefix}_REDIS_URL": server.bare_url,
        f"PLATOLM_{prefix}_REDIS_CA_FILE": str(Authority(tmp_path).ca_file),
        "PYTHONPATH": ":".join(sys.path),
    }
    argv = [sys.executable, "-m", f"services.orchestrator.{process}"]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == MISUSE
    assert done.stderr.startswith(f"error: {server.bare_url}: its certificate is not trusted"), done.stderr
    assert done.stderr.count("\n") == 1


def test_the_server_itself_counts_as_well(server: TlsRedis) -> None:
    """The fixture's own client has certificate and password."""
    with redis.Redis.from_url(server.url) as client:
        assert client.ping()
