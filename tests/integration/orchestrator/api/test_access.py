"""Who may ask, how much at a time, and what the API says of itself."""

from __future__ import annotations

import asyncio
import gzip
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.orchestrator.api.runs import (
    body,
    url_of,
)
from tests.integration.orchestrator.processes import Process, api_process, wait_until
from tests.redis_server import RedisServer

KEY = "a-key-for-this-test"


def test_keys(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, api_keys=KEY, host="0.0.0.0").start()
    try:
        url = url_of(process)
        key = {"Authorization": f"Bearer {KEY}"}
        for path, without, with_key in [
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/v1/runs", 401, 200),
            ("/docs", 303, 200),
            ("/", 303, 200),
            ("/login", 200, 200),
            ("/openapi.json", 401, 200),
            ("/metrics", 401, 200),
        ]:
            assert httpx.get(url + path).status_code == without, path
            assert httpx.get(url + path, headers=key).status_code == with_key, path
    finally:
        process.end()


def test_a_public_address_without_a_key_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, host="0.0.0.0")
    with pytest.raises(AssertionError, match=r"error: 0\.0\.0\.0 can be reached from other .* PLATOLM_API_API_KEYS"):
        process.start()
    assert process.popen is not None
    assert process.popen.returncode == 2


def test_settings_that_cannot_be_used(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, api_keys="short", allowed_outputs="nowhere", crash_at="x:1")
    with pytest.raises(AssertionError) as caught:
        process.start()
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in lines if line.startswith("error: ")] == [
        "PLATOLM_API_API_KEYS:",
        "PLATOLM_API_ALLOWED_OUTPUTS:",
    ]


async def test_a_large_submission_leaves_the_api_responsive(api: Process, client: httpx.AsyncClient) -> None:
    seeds = [{"question": f"How do I {'word ' * 36}{i}?", "line": i + 1} for i in range(100_000)]
    content = json.dumps({**body(1_000_000, seed_mode="question"), "seeds": seeds}).encode()
    assert len(content) > 20_000_000
    waits, done = [], threading.Event()

    def look() -> None:
        with httpx.Client(base_url=url_of(api)) as watcher:
            while not done.is_set():
                started = time.monotonic()
                watcher.get("/healthz")
                waits.append(time.monotonic() - started)
                time.sleep(0.005)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        started = time.monotonic()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = await client.post("/v1/runs", content=gzip.compress(content, 1), headers=headers)
        took_s = time.monotonic() - started
        done.set()
        looking.result()
    assert response.status_code == 201
    assert took_s < 60, "on a busy machine; alone it takes a tenth of that"
    assert sorted(waits)[int(len(waits) * 0.95)] < 0.1, f"longest {max(waits):.3f} s"


async def test_a_large_submission_that_is_wrong(client: httpx.AsyncClient) -> None:
    seeds = [{"question": "x" * 100} for _ in range(20_000)]
    seeds[7] = {"query": "x" * 100}
    response = await client.post("/v1/runs", json={**body(seed_mode="question", sed=1), "seeds": seeds})
    assert response.status_code == 422
    assert [problem["loc"] for problem in response.json()["detail"]] == [
        ["body", "spec", "sed"],
        ["body", "seeds", 7, "query"],
    ]


async def test_a_body_beyond_the_limit(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b" " * (65 * 2**20))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post("/v1/runs", content=bomb, headers=headers)
    assert (response.status_code, "67108864 bytes" in response.json()["detail"]) == (413, True)


async def test_a_client_that_leaves_in_mid_body(api: Process, client: httpx.AsyncClient) -> None:
    host, port = url_of(api).removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.get("/healthz")).status_code == 200
    assert "Traceback" not in api.log.read_text()


def test_redis_away_is_said_and_passes(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    process = api_process(tmp_path, server.url).start()
    try:
        server.kill()
        for path in ("/readyz", "/v1/runs"):
            response = httpx.get(url_of(process) + path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert httpx.get(url_of(process) + "/healthz").status_code == 200
        server.start()
        wait_until(lambda: httpx.get(process.ready_url).status_code == 200, what="ready again")
    finally:
        process.end()
        server.stop()
