"""Time that passes when a test says so."""

from __future__ import annotations

import time


class StoppedClock:
    """Stands in for the `time` module of the code under test; the event loop keeps the real one."""

    def __init__(self) -> None:
        self.now = time.monotonic()

    def monotonic(self) -> float:
        return self.now
