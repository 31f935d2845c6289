"""Every live feed that somebody listens to, each made once however many do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Callable, Hashable

import structlog
from pydantic import BaseModel

from platolm.errors import OutputError
from services.orchestrator.datasets.run_place import RunPlace
from services.orchestrator.live.channels import Channels
from services.orchestrator.live.conversation_feed import ConversationFeed
from services.orchestrator.live.feeds import Feed, RunFeed, Wall
from services.orchestrator.live.messages import event
from services.orchestrator.queue import REDIS_AWAY, Queue

logger = structlog.get_logger(__name__)


class LiveEvents:
    """Server-sent events from now on, several in one piece. What nobody listens to is not made.

    Where Redis goes away a stream ends, and the client connects again.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self._channels = Channels(queue)
        self._feeds: dict[Hashable, Feed] = {}
        self._following: dict[Feed, asyncio.Task[None]] = {}

    @property
    def num_listeners(self) -> int:
        return sum(len(feed.audience) for feed in self._feeds.values())

    def run(self, run_id: str) -> AsyncGenerator[bytes, None]:
        """`turn`, `ended` and `progress` of a run, until it is over."""
        return self._listen(("run", run_id), lambda: RunFeed(self._queue, self._channels, run_id))

    def wall(self, run_id: str | None, *, turns: bool) -> AsyncGenerator[bytes, None]:
        """`runs` and `sample`, and with `turns` also `turn` and `ended`, of every open run or of one, without end."""
        return self._listen(
            ("wall", run_id, turns), lambda: Wall(self._queue, self._channels, run_id=run_id, turns=turns)
        )

    def conversation(self, place: RunPlace, run_id: str, index: int) -> AsyncGenerator[bytes, None]:
        """One conversation with its utterances in the making, until it is over."""
        return self._listen(
            ("conversation", run_id, index),
            lambda: ConversationFeed(self._queue, self._channels, place, run_id, index),
        )

    def publish_sample(self, sample: BaseModel) -> None:
        """Show a measurement to those who look at a wall."""
        walls = [feed for feed in self._feeds.values() if isinstance(feed, Wall)]
        if walls:
            content = event("sample", sample.model_dump_json().encode())
            for wall in walls:
                wall.show_sample(content)

    async def close(self) -> None:
        """End every stream."""
        following = list(self._following.values())
        for task in following:
            task.cancel()
        await asyncio.gather(*following, return_exceptions=True)

    async def _listen(self, key: Hashable, make: Callable[[], Feed]) -> AsyncGenerator[bytes, None]:
        feed = self._feeds.get(key)
        if feed is None:
            feed = self._begin(key, make())
        listener = feed.audience.join(feed.greeting())
        try:
            async with contextlib.aclosing(listener.writes()) as pieces:
                async for piece in pieces:
                    yield piece
        finally:
            feed.audience.leave(listener)
            if not feed.audience:
                self._forget(key, feed)
                if feed in self._following:
                    self._following[feed].cancel()

    def _begin(self, key: Hashable, feed: Feed) -> Feed:
        self._feeds[key] = feed
        following = self._following[feed] = asyncio.create_task(self._follow(key, feed), name=f"feed {key}")
        following.add_done_callback(lambda _: self._following.pop(feed))
        return feed

    async def _follow(self, key: Hashable, feed: Feed) -> None:
        try:
            await feed.run()
        except REDIS_AWAY as error:
            logger.info("feed_interrupted", feed=key, error=str(error))
        except OutputError as error:
            logger.warning("feed_interrupted", feed=key, error=str(error))
        finally:
            self._forget(key, feed)
            feed.audience.end()

    def _forget(self, key: Hashable, feed: Feed) -> None:
        if self._feeds.get(key) is feed:
            del self._feeds[key]
