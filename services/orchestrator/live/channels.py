"""Redis' channels as this process reads them: each once, however many want to hear of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from redis.exceptions import ConnectionError as RedisConnectionError

from services.orchestrator.queue import Queue

Handler = Callable[[str, str], None]
"""Takes a channel's name and a message."""

_POLL_S = 0.5


class Channel:
    """One subscription, and what is called for each of its messages."""

    def __init__(self, queue: Queue, name: str, *, is_pattern: bool) -> None:
        self.handlers: list[Handler] = []
        self._subscribed = asyncio.Event()
        self.reading = asyncio.create_task(self._read(queue, name, is_pattern=is_pattern), name=f"channel {name}")

    async def wait(self, timeout_s: float) -> None:
        """Wait for so long, unless the channel is lost.

        Raises:
            RedisError: Redis went away (`REDIS_AWAY`), or was away for a moment: messages may be missing.
        """
        await asyncio.wait({self.reading}, timeout=timeout_s)
        self.check()

    def check(self) -> None:
        """As `wait`, without waiting."""
        if self.reading.done():
            self.reading.result()

    async def subscribed(self) -> None:
        """Wait until messages come in.

        Raises:
            RedisError: Redis is away.
        """
        subscribed = asyncio.ensure_future(self._subscribed.wait())
        try:
            await asyncio.wait({self.reading, subscribed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            subscribed.cancel()
        self.check()

    async def _read(self, queue: Queue, name: str, *, is_pattern: bool) -> None:
        async with queue.pubsub() as pubsub:
            await (pubsub.psubscribe(name) if is_pattern else pubsub.subscribe(name))
            while True:
                message = await pubsub.get_message(timeout=_POLL_S)
                if message is None:
                    continue
                if message["type"] in ("message", "pmessage"):
                    for handler in self.handlers:
                        handler(message["channel"], message["data"])
                elif self._subscribed.is_set():  # redis-py has connected again, and what was said meanwhile is lost
                    raise RedisConnectionError(f"the subscription to {name} was interrupted")
                else:
                    self._subscribed.set()


class Channels:
    """The channels that are read now."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._open: dict[str, Channel] = {}

    @asynccontextmanager
    async def open(self, name: str, handler: Handler, *, is_pattern: bool = False) -> AsyncGenerator[Channel, None]:
        """Read a channel, or every one that a pattern fits, while entered; messages come in from the beginning.

        Raises:
            RedisError: Redis is away.
        """
        channel = self._open.get(name)
        if channel is None or channel.reading.done():
            channel = self._open[name] = Channel(self._queue, name, is_pattern=is_pattern)
        channel.handlers.append(handler)
        try:
            await channel.subscribed()
            yield channel
        finally:
            channel.handlers.remove(handler)
            if not channel.handlers:
                await self._close(name, channel)

    async def _close(self, name: str, channel: Channel) -> None:
        if self._open.get(name) is channel:
            del self._open[name]
        channel.reading.cancel()
        await asyncio.gather(channel.reading, return_exceptions=True)
