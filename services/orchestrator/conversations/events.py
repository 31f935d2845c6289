"""A run's live events: turns as they complete, progress once a second, for as long as the run goes on.

However many listen to a run, this process reads its channel once and writes each event once. A listener has a bounded
queue; where it is slower than the run it loses the oldest turns, and is told how many.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncGenerator

import orjson

from platolm.runs import RunProgress, conversation_id
from services.orchestrator.queue import REDIS_AWAY, Queue

PROGRESS_EVERY_S = 1.0
MAX_WAITING_TURNS = 2048
"""Turns that wait for a slow listener before the oldest are dropped."""

_POLL_S = 0.5
_GATHER_S = 0.05
"""A write carries what came within this time: a thousand turns a second are twenty writes."""
_LARGEST_WRITE = 512


class Listener:
    """One client's share of a run's events."""

    def __init__(self) -> None:
        self._turns: deque[bytes] = deque()
        self._progress: bytes | None = None
        self._dropped = 0
        self._ended = False
        self._news = asyncio.Event()

    def turn(self, event: bytes) -> None:
        if len(self._turns) >= MAX_WAITING_TURNS:
            self._turns.popleft()
            self._dropped += 1
        self._turns.append(event)
        self._news.set()

    def progress(self, event: bytes) -> None:
        """Replaces a progress that was not taken yet."""
        self._progress = event
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def writes(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events, several in one piece, until the run's end."""
        while True:
            await self._news.wait()
            if not self._ended:
                await asyncio.sleep(_GATHER_S)
            while piece := self._take():
                yield piece
            if self._ended:
                return
            self._news.clear()

    def _take(self) -> bytes:
        events = []
        if self._dropped:
            events.append(_event("dropped", orjson.dumps({"turns": self._dropped})))
            self._dropped = 0
        events += [self._turns.popleft() for _ in range(min(_LARGEST_WRITE, len(self._turns)))]
        if self._progress is not None and not self._turns:
            events.append(self._progress)
            self._progress = None
        return b"".join(events)


class LiveEvents:
    """The channels of the runs that somebody listens to."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._channels: dict[str, _Channel] = {}

    @property
    def num_listeners(self) -> int:
        return sum(len(channel.listeners) for channel in self._channels.values())

    async def events(self, run_id: str) -> AsyncGenerator[bytes, None]:
        """A run's events from now on. Turns said while nobody listens are not repeated; the dataset has them.

        Where Redis goes away the stream ends, and the client connects again.
        """
        channel = self._channels.get(run_id)
        if channel is None:
            channel = self._channels[run_id] = _Channel(self._queue, run_id)
            channel.reading = asyncio.create_task(self._read(channel), name=f"events-{run_id}")
        listener = Listener()
        if channel.progress is not None:
            listener.progress(channel.progress)
        channel.listeners.add(listener)
        try:
            async with contextlib.aclosing(listener.writes()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            channel.listeners.discard(listener)
            if not channel.listeners:
                self._forget(channel)

    async def _read(self, channel: _Channel) -> None:
        try:
            with contextlib.suppress(*REDIS_AWAY):
                await channel.read()
        finally:
            self._forget(channel)
            for listener in channel.listeners:
                listener.end()

    def _forget(self, channel: _Channel) -> None:
        if self._channels.get(channel.run_id) is channel:
            del self._channels[channel.run_id]
        if channel.reading is not None and channel.reading is not asyncio.current_task():
            channel.reading.cancel()

    async def close(self) -> None:
        """End every stream."""
        reading = [channel.reading for channel in self._channels.values() if channel.reading is not None]
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)


class _Channel:
    """One subscription, and those whom it serves."""

    def __init__(self, queue: Queue, run_id: str) -> None:
        self.run_id = run_id
        self.listeners: set[Listener] = set()
        self.progress: bytes | None = None
        self.reading: asyncio.Task[None] | None = None
        self._queue = queue

    async def read(self) -> None:
        """Hand events on until the run is over."""
        async with self._queue.events() as pubsub:
            await pubsub.subscribe(self._queue.key("events", self.run_id))
            due = time.monotonic()
            while True:
                if time.monotonic() >= due:
                    if await self._report() is None:
                        return
                    due = time.monotonic() + PROGRESS_EVERY_S
                wait_s = max(0.0, min(_POLL_S, due - time.monotonic()))
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=wait_s)
                if message is not None:
                    self._hand_on(turn_event(self.run_id, message["data"]))

    async def _report(self) -> RunProgress | None:
        """Tell the listeners how far the run is; None where it is over."""
        progress = await self._queue.progress(self.run_id)
        if progress is None:
            return None
        self.progress = _event("progress", progress.model_dump_json().encode())
        for listener in self.listeners:
            listener.progress(self.progress)
        return None if progress.state.is_over else progress

    def _hand_on(self, event: bytes) -> None:
        for listener in self.listeners:
            listener.turn(event)


def turn_event(run_id: str, message: str) -> bytes:
    """A message of the run's channel, `INDEX TURN_INDEX TURN`, as the event of a `platolm.runs.TurnEvent`."""
    index, turn_index, recorded = message.split(" ", 2)
    turn = orjson.loads(recorded)
    event = {
        "conversation_id": conversation_id(run_id, int(index)),
        "index": int(index),
        "turn_index": int(turn_index),
        "role": turn["role"],
        "content": turn["content"],
    }
    return _event("turn", orjson.dumps(event))


def _event(name: str, data: bytes) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"
