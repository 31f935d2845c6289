"""When each utterance was acknowledged, as Redis itself tells it.

The script that records an utterance publishes it in the same step, so that a subscriber hears of every append that took
place, and of nothing else. While Redis is away nothing can be appended; what is published before the subscription
stands again is missed, which makes a check on what was heard milder, never wrong.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Iterator

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from services.orchestrator.live.messages import ENDED

Position = tuple[int, int]
"""Conversation and turn."""

_POLL_S = 0.1
_AGAIN_S = 0.01


class Listener:
    """Hears the utterances of the runs whose channels match, of which there should be one, in a thread of its own."""

    def __init__(self, url: str, channels: str) -> None:
        self._url = url
        self._channels = channels
        self._stopping = threading.Event()
        self.acknowledged: defaultdict[Position, list[float]] = defaultdict(list)
        """Times on the machine's monotonic clock."""

    @contextlib.contextmanager
    def listening(self) -> Iterator[Listener]:
        """Hear while entered."""
        thread = threading.Thread(target=self._run, name="listener")
        thread.start()
        try:
            yield self
        finally:
            self._stopping.set()
            thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(redis.RedisError, OSError):
                self._listen()
            self._stopping.wait(_AGAIN_S)

    def _listen(self) -> None:
        at_once = Retry(NoBackoff(), 0)
        with redis.Redis.from_url(self._url, decode_responses=True, retry=at_once) as client, client.pubsub() as pubsub:
            pubsub.psubscribe(self._channels)
            while not self._stopping.is_set():
                message = pubsub.get_message(ignore_subscribe_messages=True, timeout=_POLL_S)
                if message is None:
                    continue
                index, turn_index, _ = message["data"].split(" ", 2)
                if turn_index != ENDED:
                    self.acknowledged[int(index), int(turn_index)].append(time.monotonic())
