"""One conversation from what has been said to its end: utterances as they are made, turns as they are complete."""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack

import orjson

from platolm.runs import RunState, conversation_id
from platolm.runs_api import ConversationDetail, ConversationState, ConversationTurn
from services.orchestrator.conversations.detail import conversation_detail
from services.orchestrator.datasets.run_place import RunPlace
from services.orchestrator.live.audience import Audience
from services.orchestrator.live.channels import Channel, Channels
from services.orchestrator.live.feeds import Feed
from services.orchestrator.live.messages import RunMessage, event, partial_event
from services.orchestrator.queue import Queue

WATCH_EVERY_S = 5.0
WATCH_FOR_S = 15
"""Workers stream a conversation for so long after the last sign of somebody who watches it."""

GATHER_S = 0.05
_LOOK_EVERY_S = 1.0
"""Not every end is published: conversations die, and runs are cancelled."""

_OVER = (ConversationState.FINISHED, ConversationState.DEAD)


class ConversationFeed(Feed):
    """`conversation`, then `partial`, `turn`, `ended` as they happen, and `conversation` again when it is over."""

    def __init__(self, queue: Queue, channels: Channels, place: RunPlace, run_id: str, index: int) -> None:
        super().__init__(Audience(gather_s=GATHER_S))
        self._queue = queue
        self._channels = channels
        self._place = place
        self._run_id = run_id
        self._index = index
        self._id = conversation_id(run_id, index)
        self._prefix = f"{index} "
        self._detail: ConversationDetail | None = None
        self._partial = b""
        self._early: list[str] = []
        self._ended = asyncio.Event()
        self._watched_at = -WATCH_EVERY_S

    def greeting(self) -> bytes:
        return b"" if self._detail is None else _conversation(self._detail) + self._partial

    async def run(self) -> None:
        """As `Feed.run`.

        Raises:
            OutputError: the dataset's place does not answer.
        """
        async with AsyncExitStack() as stack:
            channels = [
                await stack.enter_async_context(self._channels.open(self._queue.key(name, whose), handler))
                for name, whose, handler in (
                    ("events", self._run_id, self._take_message),
                    ("partial", self._id, self._take_partial),
                )
            ]
            detail = await self._look()
            if detail is None:
                return
            self.audience.tell(_conversation(detail))
            self.audience.flush()
            if detail.state not in _OVER:
                await self._follow(detail, channels)

    async def _follow(self, detail: ConversationDetail, channels: list[Channel]) -> None:
        """Until it is over; says so where there is something to show."""
        self._detail = detail
        for text in self._early:
            self._take_message("", text)
        while True:
            await self._watch()
            await self._wait(channels)
            if not await self._is_over():
                continue
            found = await self._look()
            if found is None:  # its run was cancelled
                return
            if found.state in _OVER:
                self.audience.tell(_conversation(found))
                return

    async def _watch(self) -> None:
        if time.monotonic() - self._watched_at >= WATCH_EVERY_S:
            await self._queue.watch(self._id, for_s=WATCH_FOR_S)
            self._watched_at = time.monotonic()

    async def _wait(self, channels: list[Channel]) -> None:
        ended = asyncio.ensure_future(self._ended.wait())
        try:
            reading = [channel.reading for channel in channels]
            await asyncio.wait([ended, *reading], timeout=_LOOK_EVERY_S, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended.cancel()
        for channel in channels:
            channel.check()

    async def _is_over(self) -> bool:
        """Whether it seems so: it is not in the queue, and it is not that it has not been fed yet."""
        if self._ended.is_set():
            return True
        if await self._queue.is_queued(self._id):
            return False
        is_fed = self._index < (await self._queue.cursor(self._run_id) or 0)
        return is_fed or await self._queue.state(self._run_id) not in (RunState.RUNNING, RunState.PAUSED)

    async def _look(self) -> ConversationDetail | None:
        progress = await self._queue.progress(self._run_id)
        if progress is None:
            return None
        return await conversation_detail(self._queue, self._place, progress, self._index)

    def _take_message(self, _channel: str, text: str) -> None:
        if not text.startswith(self._prefix):
            return  # another conversation's
        if self._detail is None:
            self._early.append(text)
            return
        message = RunMessage(self._run_id, text)
        if message.is_ending:
            self.audience.tell(message.event)
            self._ended.set()
        elif message.turn_index == len(self._detail.turns):  # else it was there already
            self._detail.turns.append(ConversationTurn(**orjson.loads(message.turn)))
            self._detail.state = ConversationState.IN_FLIGHT
            self._partial = b""
            self.audience.withdraw("partial")
            self.audience.tell(message.event)

    def _take_partial(self, _channel: str, text: str) -> None:
        turn_index, content = partial_event(text)
        if self._detail is not None and turn_index >= len(self._detail.turns):  # else its turn was faster
            self._partial = content
            self.audience.show("partial", content)


def _conversation(detail: ConversationDetail) -> bytes:
    return event("conversation", detail.model_dump_json().encode())
