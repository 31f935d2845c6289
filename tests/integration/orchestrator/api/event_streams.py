"""Server-sent events as a client reads them."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

Event = tuple[str, Any]
"""Name and content."""


async def read_events(response: httpx.Response) -> AsyncIterator[Event]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


@asynccontextmanager
async def listening(client: httpx.AsyncClient, path: str, **params: Any) -> AsyncGenerator[AsyncIterator[Event], None]:
    """The events of an address while entered."""
    async with client.stream("GET", path, params=params) as response:
        assert response.status_code == 200, await response.aread()
        assert response.headers["content-type"].startswith("text/event-stream")
        yield read_events(response)


async def until(events: AsyncIterator[Event], name: str) -> Any:
    """The content of the next event of a name."""
    async for seen, content in events:
        if seen == name:
            return content
    raise AssertionError(f"the stream ended without {name}")
