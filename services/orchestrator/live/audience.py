"""Those who listen to one feed: each event is made once, waits once, and goes out in few writes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass

import orjson

from services.orchestrator.live.messages import event

MAX_WAITING_EVENTS = 2048
"""Events that wait for a slow listener before the oldest are dropped."""

GATHER_S = 0.15
"""A write carries what came within this time: a thousand events a second are seven writes."""

LARGEST_BATCH = 512
"""Events of one write."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Events in one piece, shared by all listeners."""

    content: bytes
    num_events: int


class Listener:
    """One client's share of a feed."""

    def __init__(self) -> None:
        self._batches: deque[Batch] = deque()
        self._num_waiting = 0
        self._num_dropped = 0
        self._latest: dict[str, bytes] = {}
        self._ended = False
        self._news = asyncio.Event()

    def give(self, batch: Batch) -> None:
        """Add to what waits; what is too much for it to wait is dropped, the oldest first."""
        self._batches.append(batch)
        self._num_waiting += batch.num_events
        while self._num_waiting > MAX_WAITING_EVENTS:
            oldest = self._batches.popleft()
            self._num_waiting -= oldest.num_events
            self._num_dropped += oldest.num_events
        self._news.set()

    def replace(self, name: str, content: bytes) -> None:
        """An event of which only the newest matters; it goes out behind what waits."""
        self._latest[name] = content
        self._news.set()

    def withdraw(self, name: str) -> None:
        """Such an event that means nothing any more."""
        self._latest.pop(name, None)

    def end(self) -> None:
        self._ended = True
        self._news.set()

    async def writes(self) -> AsyncGenerator[bytes, None]:
        """Server-sent events, several in one piece, until the feed's end."""
        while True:
            await self._news.wait()
            self._news.clear()
            while piece := self._take():
                yield piece
            if self._ended:
                return

    def _take(self) -> bytes:
        pieces = []
        if self._num_dropped:
            pieces.append(event("dropped", orjson.dumps({"turns": self._num_dropped})))
            self._num_dropped = 0
        if self._batches:
            batch = self._batches.popleft()
            self._num_waiting -= batch.num_events
            pieces.append(batch.content)
        if not self._batches:
            pieces += self._latest.values()
            self._latest.clear()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)


class Audience:
    """The listeners of a feed. Nothing is kept while there are none."""

    def __init__(self, *, gather_s: float = GATHER_S) -> None:
        self._gather_s = gather_s
        self._listeners: set[Listener] = set()
        self._events: list[bytes] = []
        self._latest: dict[str, bytes] = {}
        self._due: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._listeners)

    def join(self, greeting: bytes) -> Listener:
        """One more, who gets the greeting at once and then what comes from now on."""
        self.flush()
        listener = Listener()
        if greeting:
            listener.give(Batch(greeting, 1))
        self._listeners.add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        self._listeners.discard(listener)

    def tell(self, content: bytes) -> None:
        """An event that follows those before it."""
        self._events.append(content)
        if len(self._events) >= LARGEST_BATCH:
            self.flush()
        else:
            self._flush_soon()

    def show(self, name: str, content: bytes) -> None:
        """An event that replaces the one of this name, where that has not gone out yet."""
        self._latest[name] = content
        self._flush_soon()

    def withdraw(self, name: str) -> None:
        """Take back what was shown under this name, where it has not gone out yet."""
        self._latest.pop(name, None)
        for listener in self._listeners:
            listener.withdraw(name)

    def end(self) -> None:
        """Everyone's stream ends behind what was told."""
        self.flush()
        for listener in self._listeners:
            listener.end()

    def flush(self) -> None:
        """Hand out what was gathered."""
        if self._due is not None:
            self._due.cancel()
            self._due = None
        events, self._events = self._events, []
        latest, self._latest = self._latest, {}
        batch = Batch(b"".join(events), len(events))
        for listener in self._listeners:
            if events:
                listener.give(batch)
            for name, content in latest.items():
                listener.replace(name, content)

    def _flush_soon(self) -> None:
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(self._gather_s, self.flush)
