"""Request bodies: bounded as their bytes arrive, gzip taken, large ones kept on disk rather than in memory."""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import _TemporaryFileWrapper

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platolm.errors import OutputError

MIB = 2**20
HELD_BYTES = MIB
"""A body up to this size is kept in memory."""

_PIECE_BYTES = MIB
"""Most of a compressed body that is unpacked before it is passed on."""
_CLOSE = {"Connection": "close"}  # what follows of the body is not worth receiving
_GZIP_WINDOW = 31


class BodyLimit:
    """ASGI middleware: no request passes on more than `max_bytes` of body, unpacked, whatever its headers claim.

    Answers 413 beyond the limit, 415 for an encoding other than gzip, 400 where the gzip is broken.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers: dict[bytes, bytes] = dict(scope["headers"])
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        claimed = headers.get(b"content-length", b"0")
        if encoding not in (b"identity", b"gzip"):
            refusal = HTTPException(415, "Content-Encoding must be gzip or identity", _CLOSE)
        elif claimed.isdigit() and int(claimed) > self._max_bytes:
            refusal = self._too_large()
        else:
            body = _GzipBody(receive) if encoding == b"gzip" else receive
            await self._app(scope, self._counted(body), send)
            return
        answer = JSONResponse({"detail": refusal.detail}, refusal.status_code, refusal.headers)
        await answer(scope, receive, send)

    def _counted(self, receive: Receive) -> Receive:
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self._max_bytes:
                raise self._too_large()
            return message

        return counted

    def _too_large(self) -> HTTPException:
        return HTTPException(413, f"the body is larger than {self._max_bytes} bytes (max_request_mib)", _CLOSE)


class _GzipBody:
    """`receive` of a gzip'd body: its messages carry unpacked pieces of bounded size."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._unpack = zlib.decompressobj(_GZIP_WINDOW)
        self._packed: deque[bytes] = deque()
        self._ended = False

    async def __call__(self) -> Message:
        while not self._packed:
            if self._ended:
                return await self._receive()
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._ended = not message.get("more_body", False)
            self._packed.append(message.get("body", b""))
        piece = self._next_piece(self._packed.popleft())
        more = bool(self._packed) or not self._ended
        if not more and not self._unpack.eof:
            raise HTTPException(400, "the gzip'd body is cut short", _CLOSE)
        return {"type": "http.request", "body": piece, "more_body": more}

    def _next_piece(self, packed: bytes) -> bytes:
        if self._unpack.eof and packed:  # gzip files may follow one another
            self._unpack = zlib.decompressobj(_GZIP_WINDOW)
        try:
            piece = self._unpack.decompress(packed, _PIECE_BYTES)
        except zlib.error as error:
            raise HTTPException(400, f"the body is not gzip: {error}", _CLOSE) from error
        left = self._unpack.unused_data if self._unpack.eof else self._unpack.unconsumed_tail
        if left or (len(piece) == _PIECE_BYTES and not self._unpack.eof):
            self._packed.append(left)
        return piece


@asynccontextmanager
async def received(request: Request) -> AsyncIterator[bytes | Path]:
    """A request's whole body: its bytes, or beyond `HELD_BYTES` a temporary file that goes when the context ends.

    Raises:
        OutputError: the temporary folder is full.
        ClientDisconnect: the client left.
    """
    chunks = request.stream()
    held = await _gathered(chunks)
    if len(held) <= HELD_BYTES:
        yield held
        return
    with _temporary_file() as file:
        while held:
            await asyncio.to_thread(_write, file, held)
            held = await _gathered(chunks)
        yield Path(file.name)


def _temporary_file() -> _TemporaryFileWrapper[bytes]:
    try:
        return tempfile.NamedTemporaryFile(prefix="platolm-request-", buffering=0)
    except OSError as error:
        raise _no_room(error) from error


def _write(file: _TemporaryFileWrapper[bytes], content: bytes) -> None:
    view = memoryview(content)
    try:
        while view:
            view = view[file.write(view) :]
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> OutputError:
    return OutputError(f"the request does not fit on this server's disk: {error.strerror or error}")


async def _gathered(chunks: AsyncIterator[bytes]) -> bytes:
    """Some more than `HELD_BYTES` of what follows, or all of it where that is less."""
    held = bytearray()
    async for chunk in chunks:
        held += chunk
        if len(held) > HELD_BYTES:
            break
    return bytes(held)
