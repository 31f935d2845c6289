"""A worker's own knowledge of its lease: it asks nothing more of an engine once its claims may be others'."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable


class Lease:
    """Fresh for half a lease from the moment at which the last renewal was sent.

    Redis counts the lease from a later moment. So whatever is asked for while it is fresh, and is thrown away by the
    kernel where the engine's host has not taken it within another half (`engine_peer_timeout_s`), reaches the engine
    before anybody else may own the conversation, or never: a worker that was cut off makes no utterance anew that
    another has recorded meanwhile.
    """

    def __init__(self, lease_s: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fresh_s = fresh_s(lease_s)
        self._clock = clock
        self._sent_at = float("-inf")
        self._renewed = asyncio.Event()

    @property
    def is_fresh(self) -> bool:
        return self._clock() - self._sent_at < self._fresh_s

    def sending(self) -> float:
        """The moment to give to `renewed` when the answer has come."""
        return self._clock()

    def renewed(self, sent_at: float) -> None:
        """Redis has taken a renewal that was sent at `sent_at`."""
        self._sent_at = max(self._sent_at, sent_at)
        if self.is_fresh:
            self._renewed.set()

    def lost(self) -> None:
        self._sent_at = float("-inf")

    async def fresh(self) -> None:
        """Wait until something may be asked for; whoever has lost its claim meanwhile is cancelled here."""
        while not self.is_fresh:
            self._renewed.clear()
            await self._renewed.wait()


def fresh_s(lease_s: float) -> float:
    """For how long a renewal lasts; as long may an engine's host be silent."""
    return lease_s / 2
