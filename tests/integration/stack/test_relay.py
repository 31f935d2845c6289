"""A port whose server changes: new connections go to the new one, old ones stay, and nothing of them is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from platolm.errors import StackError
from platolm.stack.checks import free_ports
from platolm.stack.relay import Relay
from platolm.stack.settings import HOST

BIG = bytes(range(256)) * 20_000


@asynccontextmanager
async def server(name: bytes, port: int = 0) -> AsyncIterator[int]:
    """Answers each line with its name and that line, until its client has said all."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            writer.write(name + b" " + line)
        await writer.drain()
        writer.close()

    listener = await asyncio.start_server(talk, HOST, port, limit=2 * len(BIG))
    async with listener:
        yield int(listener.sockets[0].getsockname()[1])


@asynccontextmanager
async def connection(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(HOST, port, limit=2 * len(BIG))
    try:
        yield reader, writer
    finally:
        writer.close()
        await writer.wait_closed()


async def said(streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], line: bytes) -> bytes:
    streams[1].write(line + b"\n")
    return await streams[0].readline()


async def test_open_connections_stay_and_new_ones_go_elsewhere() -> None:
    [port] = free_ports(1)
    async with server(b"old") as old, server(b"new") as new:
        relay = await Relay.open(port, old, timeout_s=1)
        async with connection(port) as first:
            assert await said(first, b"1") == b"old 1\n"
            relay.target = new
            async with connection(port) as second:
                assert await said(second, b"2") == b"new 2\n"
            assert await said(first, b"3") == b"old 3\n"
        await relay.close()


async def test_large_messages_and_their_end_pass_whole() -> None:
    payload = BIG.replace(b"\n", b"")
    [port] = free_ports(1)
    async with server(b"") as target:
        relay = await Relay.open(port, target, timeout_s=1)
        async with connection(port) as (reader, writer):
            writer.write(payload + b"\n")
            writer.write_eof()
            assert await reader.read() == b" " + payload + b"\n"
        await relay.close()


async def test_the_servers_end_ends_the_connection() -> None:
    [port] = free_ports(1)

    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")
        writer.close()

    async with await asyncio.start_server(leave, HOST, 0) as listener:
        relay = await Relay.open(port, listener.sockets[0].getsockname()[1], timeout_s=1)
        async with connection(port) as (reader, _):
            assert await reader.read() == b"bye"
        await relay.close()


async def test_nobody_behind_the_port_closes_the_connection() -> None:
    port, nobody = free_ports(2)
    relay = await Relay.open(port, nobody, timeout_s=1)
    async with connection(port) as (reader, _):
        assert await reader.read() == b""
    await relay.close()


async def test_it_waits_for_a_port_to_become_free() -> None:
    async with server(b"new") as new:
        async with server(b"old") as port:
            with pytest.raises(StackError, match=f"port {port} did not become free within 0 s"):
                await Relay.open(port, new, timeout_s=0)
            opening = asyncio.create_task(Relay.open(port, new, timeout_s=30))
            async with connection(port) as streams:
                assert await said(streams, b"1") == b"old 1\n"
        relay = await opening
        async with connection(port) as streams:
            assert await said(streams, b"2") == b"new 2\n"
        await relay.close()


async def test_closing_cuts_what_is_open() -> None:
    [port] = free_ports(1)
    async with server(b"old") as target:
        relay = await Relay.open(port, target, timeout_s=1)
        async with connection(port) as streams:
            assert await said(streams, b"1") == b"old 1\n"
            await relay.close()
            assert await streams[0].read() == b""
