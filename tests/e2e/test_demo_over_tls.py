"""`platolm demo` over a Redis that speaks TLS alone and asks for a password, with nothing replaced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from platolm.dataset import SHAREGPT_FILE
from platolm.stack.settings import PORT_FIELDS
from tests.local_stack import REPOSITORY
from tests.redis_server import free_port
from tests.tls_redis import Authority, TlsRedis, plain_answer_of, tls_redis_binary

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

CONVERSATIONS = 12
PASSWORD = "of-the-demo"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[TlsRedis]:
    binary = tls_redis_binary()
    if binary is None:
        pytest.skip("no redis-server with TLS on this system")
    server = TlsRedis(tmp_path / "redis", Authority(tmp_path), binary=binary, password=PASSWORD)
    server.start()
    yield server
    server.stop()


def test_the_whole_demo(server: TlsRedis, tmp_path: Path) -> None:
    settings = {
        **{name: free_port() for name in PORT_FIELDS},
        "data_dir": tmp_path / "data",
        "redis_url": server.bare_url,
        "redis_password": PASSWORD,
        "redis_ca_file": server.authority.ca_file,
    }
    env = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    env |= {f"PLATOLM_UP_{name.upper()}": str(value) for name, value in settings.items()}
    argv = [sys.executable, "-m", "platolm", "demo", "-n", str(CONVERSATIONS), "--max-turns", "4"]
    argv += ["--out", str(tmp_path / "out")]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=550, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    lines = (tmp_path / "out" / SHAREGPT_FILE).read_text().splitlines()
    assert sorted(json.loads(line)["index"] for line in lines) == list(range(CONVERSATIONS))
    with redis.Redis.from_url(server.url) as client:
        assert client.zcard("platolm:runs") == 1, "the run went through this Redis"
        assert client.config_get("port") == {b"port": b"0"} or client.config_get("port") == {"port": "0"}
    assert b"PONG" not in plain_answer_of(server.port)
    assert not list((tmp_path / "data" / "redis").glob("*")), "the embedded one was not started"
    assert PASSWORD not in done.stdout + done.stderr
