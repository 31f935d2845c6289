"""The inner client against what a server may send."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from services.gateway.client import EngineModel, engine_client
from services.gateway.errors import RequestError


@asynccontextmanager
async def engine_sending(stream: bytes) -> AsyncIterator[str]:
    """A server whose every completion is this stream."""

    async def completions(request: web.Request) -> web.Response:
        return web.Response(body=stream, content_type="text/event-stream")

    app = web.Application()
    app.router.add_post("/v1/completions", completions)
    async with TestServer(app, host="127.0.0.1") as server:
        yield str(server.make_url("")).rstrip("/")


async def events_of(stream: bytes) -> list[dict[str, object]]:
    async with engine_sending(stream) as url, engine_client(url, api_key=None, timeout_s=10) as client:
        return [event async for event in client.stream({})]


@pytest.mark.parametrize(
    "stream",
    [
        b'data: {"n": 1}\n\ndata: {"n": 2}\n\ndata: [DONE]\n\n',
        b'data:{"n": 1}\r\n\r\ndata:{"n": 2}\r\n\r\ndata:[DONE]\r\n\r\n',
        b': ping\n\ndata: {"n": 1}\n\n: ping\nevent: more\nid: 7\ndata: {"n": 2}\nretry: 5\n\ndata: [DONE]\n\n',
    ],
    ids=["usual", "tight", "comments and other fields"],
)
async def test_the_events_of_a_stream(stream: bytes) -> None:
    assert await events_of(stream) == [{"n": 1}, {"n": 2}]


async def test_what_follows_the_end_is_not_read() -> None:
    assert await events_of(b'data: {"n": 1}\n\ndata: [DONE]\n\ndata: nonsense\n\n') == [{"n": 1}]


async def test_a_stream_without_its_end_is_an_error() -> None:
    with pytest.raises(RequestError, match="broke off") as caught:
        await events_of(b'data: {"n": 1}\n\n')
    assert caught.value.status == 502


async def test_an_error_in_the_stream_has_the_status_that_it_names() -> None:
    with pytest.raises(RequestError, match="too long") as caught:
        await events_of(b'data: {"error": {"message": "too long", "code": 400}}\n\n')
    assert caught.value.status == 400


async def models_of(cards: list[dict[str, Any]]) -> list[EngineModel]:
    async def listed(_request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": cards})

    app = web.Application()
    app.router.add_get("/v1/models", listed)
    async with TestServer(app, host="127.0.0.1") as server:
        url = str(server.make_url("")).rstrip("/")
        async with engine_client(url, api_key=None, timeout_s=10) as client:
            return await client.models()


async def test_an_engine_with_one_model() -> None:
    assert await models_of([{"id": "model", "max_model_len": 64}]) == [EngineModel("model", 64)]


async def test_adapters_have_the_length_of_their_base() -> None:
    """As vLLM lists them with --lora-modules."""
    cards: list[dict[str, Any]] = [
        {"id": "base", "parent": None, "max_model_len": 2048},
        {"id": "socratic", "parent": "base", "max_model_len": None},
        {"id": "platolm", "parent": "base", "max_model_len": None},
    ]
    assert await models_of(cards) == [EngineModel(name, 2048) for name in ("base", "socratic", "platolm")]
