"""The conversations of a worker that people watch, and what they are shown of utterances in the making."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from services.orchestrator.live.messages import partial_message
from services.orchestrator.queue import REDIS_AWAY, Queue

LOOK_EVERY_S = 0.25
"""How soon a worker knows of a watcher; the utterance after that is streamed."""
SHOW_EVERY_S = 0.1
"""Between two sights of one utterance."""

_UNFINISHED = "\ufffd"  # what the first bytes of a character decode to

Show = Callable[[Any], None]
"""Takes all of an utterance so far: ids from an engine, text from a chat API."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Which utterance is shown, and how what came of it becomes text."""

    conversation_id: str
    turn_index: int
    role: str
    decode: Callable[[Any], str]

    def text(self, said: Any) -> str:
        """The utterance so far, without a character that is not complete yet."""
        return self.decode(said).rstrip(_UNFINISHED)


class Watching:
    """What somebody watches, as Redis said a moment ago."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._watched: frozenset[str] = frozenset()

    def __contains__(self, conversation_id: str) -> bool:
        return conversation_id in self._watched

    async def look(self) -> None:
        """Ask again; while Redis is away, nobody watches."""
        try:
            self._watched = await self._queue.watched()
        except REDIS_AWAY:
            self._watched = frozenset()

    async def keep_looking(self, stopped: asyncio.Event) -> None:
        while not stopped.is_set():
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    @asynccontextmanager
    async def showing(self, sight: Sight) -> AsyncGenerator[Show, None]:
        """Gives what takes an utterance so far; while entered, those who watch see them, as far as Redis keeps up."""
        latest: Any = []
        news = asyncio.Event()

        def show(said: Any) -> None:
            nonlocal latest
            latest = said
            news.set()

        async def publish() -> None:
            shown = ""
            while True:
                await news.wait()
                news.clear()
                if sight.conversation_id in self and (text := sight.text(latest)) != shown:
                    shown = text
                    await self._show(sight, text)
                await asyncio.sleep(SHOW_EVERY_S)

        publishing = asyncio.create_task(publish(), name=f"showing {sight.conversation_id}")
        try:
            yield show
        finally:
            publishing.cancel()
            await asyncio.wait({publishing})

    async def _show(self, sight: Sight, text: str) -> None:
        message = partial_message(sight.turn_index, sight.role, text)
        with contextlib.suppress(*REDIS_AWAY):
            await self._queue.show(sight.conversation_id, message)
