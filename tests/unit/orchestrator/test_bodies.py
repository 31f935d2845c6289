from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI, Request

from services.orchestrator.web.bodies import HELD_BYTES, MIB, BodyLimit, received

LIMIT = 3 * MIB


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    """Of an app that says how it got a body, how long that was, and its checksum."""
    app = FastAPI()
    app.add_middleware(BodyLimit, max_bytes=LIMIT)

    @app.post("/")
    async def take(request: Request) -> list[object]:
        async with received(request) as body:
            kept = body.read_bytes() if isinstance(body, Path) else body
            return [type(body) is bytes, len(kept), zlib.crc32(kept)]

    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        yield client


async def chunks(content: bytes, size: int = 70_000) -> AsyncIterator[bytes]:
    """Sent without a Content-Length."""
    for start in range(0, len(content), size):
        yield content[start : start + size]


def varied(num_bytes: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in range(num_bytes // 4 + 1))[:num_bytes]


@pytest.mark.parametrize("size", [0, 1, HELD_BYTES, HELD_BYTES + 1, 2 * HELD_BYTES + 5, LIMIT])
@pytest.mark.parametrize("packed", [False, True])
async def test_a_body_comes_whole(client: httpx.AsyncClient, size: int, packed: bool) -> None:
    content = varied(size)
    headers = {"Content-Encoding": "gzip"} if packed else {}
    response = await client.post("/", content=chunks(gzip.compress(content) if packed else content), headers=headers)
    assert (response.status_code, response.json()) == (200, [size <= HELD_BYTES, size, zlib.crc32(content)])


async def test_gzip_files_that_follow_one_another(client: httpx.AsyncClient) -> None:
    content = gzip.compress(b"a" * 2 * MIB) + gzip.compress(b"b" * 1000)
    response = await client.post("/", content=content, headers={"Content-Encoding": "gzip"})
    assert response.json() == [False, 2 * MIB + 1000, zlib.crc32(b"a" * 2 * MIB + b"b" * 1000)]


async def test_a_body_whose_length_says_that_it_is_too_large(client: httpx.AsyncClient) -> None:
    response = await client.post("/", content=b"x" * (LIMIT + 1))
    assert (response.status_code, response.headers["connection"]) == (413, "close")
    assert response.json() == {"detail": f"the body is larger than {LIMIT} bytes (max_request_mib)"}


@pytest.mark.parametrize("length", [None, "10", "-5", "lies"])
async def test_a_body_whose_length_does_not(client: httpx.AsyncClient, length: str | None) -> None:
    headers = {"Content-Length": length} if length is not None else {}
    response = await client.post("/", content=chunks(b"x" * (LIMIT + 1)), headers=headers)
    assert response.status_code == 413


async def test_a_body_that_unpacks_to_too_much(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b"\0" * (100 * MIB))
    assert len(bomb) < MIB
    response = await client.post("/", content=bomb, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 413


@pytest.mark.parametrize(
    "broken",
    [b"not gzip", gzip.compress(b"x" * 1000)[:-9], gzip.compress(b"x") + b"more", b""],
    ids=["not packed", "cut off", "more behind it", "empty"],
)
async def test_broken_gzip(client: httpx.AsyncClient, broken: bytes) -> None:
    response = await client.post("/", content=broken, headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert "gzip" in response.json()["detail"]


async def test_another_encoding(client: httpx.AsyncClient) -> None:
    response = await client.post("/", content=b"x", headers={"Content-Encoding": "br"})
    assert (response.status_code, response.json()) == (415, {"detail": "Content-Encoding must be gzip or identity"})
