"""A run's live events: utterances as they complete, progress once a second, for as long as the run goes on."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from sse_starlette import ServerSentEvent

from platolm.runs import RunState
from services.orchestrator.conversations.runner import REDIS_AWAY
from services.orchestrator.queue import Queue

PROGRESS_EVERY_S = 1.0
_POLL_S = 0.2


async def run_events(queue: Queue, run_id: str) -> AsyncIterator[ServerSentEvent]:
    """Events until the run is completed. Turns said while nobody listens are not repeated; the dataset has them.

    Where Redis goes away the stream ends, and the client connects again.
    """
    pubsub = queue.events()
    with contextlib.suppress(*REDIS_AWAY):
        async with pubsub:
            await pubsub.subscribe(queue.key("events", run_id))
            due = time.monotonic()
            while True:
                if time.monotonic() >= due:
                    progress = await queue.progress(run_id)
                    if progress is None:
                        return
                    yield ServerSentEvent(event="progress", data=progress.model_dump_json())
                    if progress.state is RunState.COMPLETED:
                        return
                    due = time.monotonic() + PROGRESS_EVERY_S
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=_POLL_S)
                if message is not None:
                    yield ServerSentEvent(event="turn", data=message["data"])
                else:
                    await asyncio.sleep(0)
