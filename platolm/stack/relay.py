"""A port that stays while the server behind it changes."""

from __future__ import annotations

import asyncio
import contextlib

from platolm.errors import StackError
from platolm.stack.settings import HOST

_CHUNK_BYTES = 64 * 1024
_RETRY_INTERVAL_S = 0.02


class Relay:
    """Passes the connections of one loopback port on to another; open it with `Relay.open`.

    `target` may be changed at any time: new connections go to the new port, those that are open stay where they are.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    @classmethod
    async def open(cls, port: int, target: int, *, timeout_s: float) -> Relay:
        """Listen on `port` as soon as its holder lets go of it.

        Raises:
            StackError: it did not within `timeout_s`.
        """
        relay = cls(target)
        deadline = asyncio.get_running_loop().time() + timeout_s
        while True:
            try:
                relay._server = await asyncio.start_server(relay._accepted, HOST, port)
                return relay
            except OSError as error:
                if asyncio.get_running_loop().time() > deadline:
                    raise StackError(f"port {port} did not become free within {timeout_s:g} s") from error
                await asyncio.sleep(_RETRY_INTERVAL_S)

    async def close(self) -> None:
        """Stop listening, and cut what is open."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass_on(reader, writer))
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bytes both ways until the server has said all; a refusal behind the port closes the connection."""
        with contextlib.suppress(OSError), contextlib.ExitStack() as open_streams:
            open_streams.callback(writer.close)
            answers, server = await asyncio.open_connection(HOST, self.target)
            open_streams.callback(server.close)
            asking = asyncio.create_task(_copy(reader, server))
            open_streams.callback(asking.cancel)
            await _copy(answers, writer)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """All bytes of one direction, then its end; where either side breaks off, the end."""
    with contextlib.suppress(OSError):
        while chunk := await source.read(_CHUNK_BYTES):
            sink.write(chunk)
            await sink.drain()
    with contextlib.suppress(OSError):
        if sink.can_write_eof():
            sink.write_eof()
