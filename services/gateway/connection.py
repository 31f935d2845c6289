"""What concerns the client's connection: a bounded body, the client's going away, server-sent events."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Coroutine, Mapping
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from services.gateway.errors import ClientGoneError, RequestError

T = TypeVar("T")
DONE = b"data: [DONE]\n\n"


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The whole body.

    Raises:
        RequestError: 413, it is larger than the bound.
        ClientGoneError: the client left while sending it.
    """
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > max_bytes:
                raise RequestError(413, f"the body is larger than {max_bytes} bytes", code="body_too_large")
    except ClientDisconnect as error:
        raise ClientGoneError from error
    return bytes(body)


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is cancelled when the client goes away: the engine then drops the request.

    Raises:
        ClientGoneError: there is no one to answer.
    """
    task = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientGoneError
        return task.result()
    finally:
        for pending in (task, gone):
            pending.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(task, gone, return_exceptions=True)


async def _disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def server_sent(events: AsyncIterator[Mapping[str, Any]]) -> AsyncIterator[bytes]:
    """Events as `data:` lines with the closing `[DONE]`; an error on the way becomes an error event."""
    try:
        async for event in events:
            yield sse(event)
    except RequestError as error:
        yield sse(error.body)
    yield DONE


def sse(event: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"
