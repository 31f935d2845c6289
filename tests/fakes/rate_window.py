"""A limit as an API may count it: over the last minute, at whatever moment."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field


@dataclass
class RateWindow:
    """Counts what comes, what it refuses too; `worst` is the most that came within any `length_s` seconds."""

    limit: int | None = None
    length_s: float = 60.0
    worst: int = 0
    num_refused: int = 0
    _came: deque[tuple[float, int]] = field(default_factory=deque)
    _used: int = 0

    def admits(self, now: float, amount: int = 1) -> bool:
        """Whether what comes now is within the limit; counted in either case."""
        while self._came and self._came[0][0] <= now - self.length_s:
            self._used -= self._came.popleft()[1]
        self._came.append((now, amount))
        self._used += amount
        self.worst = max(self.worst, self._used)
        is_within = self.limit is None or self._used <= self.limit
        self.num_refused += not is_within
        return is_within

    def room_in_s(self, now: float) -> float:
        """When the first that was counted is so no more."""
        return self._came[0][0] + self.length_s - now if self._came and self.limit is not None else 0.0
