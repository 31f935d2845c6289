"""Asks a process whether it is ready: HTTP 200, or Redis's PONG."""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

import httpx

_TIMEOUT_S = 2.0


async def is_ready(url: str, client: httpx.AsyncClient) -> bool:
    """Whether the process at `url` is ready; `http://…` or `redis://host:port`."""
    parts = urlsplit(url)
    if parts.scheme == "redis":
        return await _redis_answers(parts.hostname or "127.0.0.1", parts.port or 6379)
    try:
        return (await client.get(url, timeout=_TIMEOUT_S)).status_code == 200
    except httpx.TransportError:
        return False


async def _redis_answers(host: str, port: int) -> bool:
    """PONG; an answer of -LOADING is not yet ready."""
    try:
        async with asyncio.timeout(_TIMEOUT_S):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"PING\r\n")
                return (await reader.readline()).startswith(b"+PONG")
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
