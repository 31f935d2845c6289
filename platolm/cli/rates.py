"""How fast a run goes, from the counts that arrive about once a second."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from platolm.runs import RunProgress

_WINDOW_S = 60.0


@dataclass(frozen=True)
class Speed:
    """Rates over the last minute; `eta_s` is None while nothing has ended yet."""

    conversations_per_minute: float = 0.0
    tokens_per_s: float = 0.0
    eta_s: float | None = None


@dataclass(frozen=True)
class _Sample:
    at_s: float
    ended: int
    tokens: int


class Speedometer:
    """Turns counts into rates over a sliding window."""

    def __init__(self) -> None:
        self._samples: deque[_Sample] = deque()

    def add(self, progress: RunProgress, now_s: float) -> Speed:
        """The speed at `now_s` (any clock that does not go back), this progress included."""
        newest = _Sample(now_s, num_ended(progress), progress.generated_tokens)
        self._samples.append(newest)
        while len(self._samples) > 2 and self._samples[1].at_s <= now_s - _WINDOW_S:
            self._samples.popleft()
        oldest = self._samples[0]
        elapsed_s = newest.at_s - oldest.at_s
        if elapsed_s <= 0:
            return Speed()
        ended_per_s = (newest.ended - oldest.ended) / elapsed_s
        remaining = progress.conversations - newest.ended
        return Speed(
            conversations_per_minute=60 * ended_per_s,
            tokens_per_s=(newest.tokens - oldest.tokens) / elapsed_s,
            eta_s=remaining / ended_per_s if ended_per_s > 0 else None,
        )


def num_ended(progress: RunProgress) -> int:
    """Conversations that will not change any more."""
    return progress.finished + progress.dead + progress.cancelled
