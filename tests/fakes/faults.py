"""What can go wrong with one answer of an engine, and how it goes wrong on the wire."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Any

from aiohttp import web

ENDLESS_BYTES = 100 * 1024 * 1024
_CHUNK_BYTES = 1024 * 1024
_SLOW_PIECES = 4
_SLOW_PAUSE_S = 0.1
STALLED_FOR_S = 3600.0


class Fault(StrEnum):
    """Each spoils one answer."""

    REFUSED = "refused"
    """500."""
    BUSY = "busy"
    """503 without a Retry-After."""
    ABORTED = "aborted"
    """Half an utterance, as an engine gives that stops."""
    DROPPED = "dropped"
    """The connection ends without an answer."""
    RESET = "reset"
    """It ends in the middle of the body."""
    TRUNCATED = "truncated"
    """A whole body that is half a JSON."""
    NOT_JSON = "not_json"
    STRANGE = "strange"
    """JSON, and no completion."""
    STALLED = "stalled"
    """The body stops in its middle; the connection stays."""
    ENDLESS = "endless"
    """100 MB of text."""
    SLOW = "slow"
    """Nothing but slow: the body comes in pieces."""
    BLANK = "blank"
    """An utterance of nothing but its end."""


Answer = dict[str, Any]
Spoil = Callable[[web.Request, Answer], Awaitable[web.StreamResponse]]


async def _refused(_request: web.Request, _answer: Answer) -> web.StreamResponse:
    return web.json_response({"error": {"message": "made to fail"}}, status=500)


async def _busy(_request: web.Request, _answer: Answer) -> web.StreamResponse:
    return web.json_response({"error": {"message": "too many requests queued"}}, status=503)


async def _aborted(_request: web.Request, answer: Answer) -> web.StreamResponse:
    choice = answer["choices"][0]
    half = choice["token_ids"][: len(choice["token_ids"]) // 2]
    return web.json_response({"choices": [{**choice, "token_ids": half, "finish_reason": "abort"}]})


async def _dropped(request: web.Request, _answer: Answer) -> web.StreamResponse:
    hang_up(request)
    return web.Response()


async def _reset(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = await _begun(request, _bytes(answer))
    hang_up(request)
    return response


async def _truncated(_request: web.Request, answer: Answer) -> web.StreamResponse:
    content = _bytes(answer)
    return web.Response(body=content[: len(content) // 2], content_type="application/json")


async def _not_json(_request: web.Request, _answer: Answer) -> web.StreamResponse:
    return web.Response(text="<html>Bad gateway</html>", content_type="text/html")


async def _strange(_request: web.Request, _answer: Answer) -> web.StreamResponse:
    return web.json_response({"choices": []})


async def _stalled(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = await _begun(request, _bytes(answer))
    await asyncio.sleep(STALLED_FOR_S)
    return response


async def _endless(request: web.Request, _answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"choices": [{"text": "')
    for _ in range(ENDLESS_BYTES // _CHUNK_BYTES):
        await response.write(b"a" * _CHUNK_BYTES)
    return response


async def _slow(request: web.Request, answer: Answer) -> web.StreamResponse:
    content = _bytes(answer)
    response = web.StreamResponse(headers={"Content-Length": str(len(content)), "Content-Type": "application/json"})
    await response.prepare(request)
    size = -(-len(content) // _SLOW_PIECES)
    for start in range(0, len(content), size):
        await response.write(content[start : start + size])
        await asyncio.sleep(_SLOW_PAUSE_S)
    return response


async def _blank(_request: web.Request, answer: Answer) -> web.StreamResponse:
    choice = answer["choices"][0]
    return web.json_response({"choices": [{**choice, "token_ids": choice["token_ids"][-1:], "text": ""}]})


def hang_up(request: web.Request) -> None:
    """End the connection at once."""
    if request.transport is not None:  # else the other end has gone already
        request.transport.abort()


async def _begun(request: web.Request, content: bytes) -> web.StreamResponse:
    """The first half of a body that was announced in full."""
    response = web.StreamResponse(headers={"Content-Length": str(len(content)), "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    return response


def _bytes(answer: Answer) -> bytes:
    return json.dumps(answer).encode()


_SPOILS: Mapping[Fault, Spoil] = {
    Fault.REFUSED: _refused,
    Fault.BUSY: _busy,
    Fault.ABORTED: _aborted,
    Fault.DROPPED: _dropped,
    Fault.RESET: _reset,
    Fault.TRUNCATED: _truncated,
    Fault.NOT_JSON: _not_json,
    Fault.STRANGE: _strange,
    Fault.STALLED: _stalled,
    Fault.ENDLESS: _endless,
    Fault.SLOW: _slow,
    Fault.BLANK: _blank,
}

HARMLESS = frozenset({Fault.SLOW, Fault.BLANK})
"""What is an answer nevertheless."""


async def spoiled(fault: Fault, request: web.Request, answer: Answer) -> web.StreamResponse:
    """What a request gets instead of its right answer, as far as it is still there to get it."""
    try:
        return await _SPOILS[fault](request, answer)
    except ConnectionError:
        return web.Response()
