"""What is known of a dataset's segments without opening them: where each begins, and what may be in it."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterable

from platolm.conversation import TerminationReason
from platolm.dataset import ManifestEntry
from platolm.segment_summary import SegmentSummary

_ENDING_BITS = {reason.value: 1 << bit for bit, reason in enumerate(TerminationReason)}
_OTHER_ENDING = 1 << len(_ENDING_BITS)
_MOST_ROUNDS = 63
"""The last bit of a mask of rounds: so many or more."""

ANY = 2**64 - 1
"""The mask that every summarised segment meets."""


class Catalogue:
    """Segments by number, from 1, in 18 bytes each; `totals` adds up those that are summarised."""

    def __init__(self) -> None:
        self._ends = array("Q")
        self._endings = array("H")
        self._rounds = array("Q")
        self.totals = SegmentSummary()

    def __len__(self) -> int:
        return len(self._ends)

    @property
    def num_records(self) -> int:
        return self._ends[-1] if self._ends else 0

    def add(self, entry: ManifestEntry) -> None:
        """Take in the next entry."""
        self._ends.append(self.num_records + len(entry.indices))
        self._endings.append(0)
        self._rounds.append(0)
        if entry.summary is not None:
            self.learn(entry.number, entry.summary)

    def learn(self, number: int, summary: SegmentSummary) -> None:
        """Take in what is in a segment; a second time changes nothing."""
        if self.is_summarised(number):
            return
        self._endings[number - 1] = endings_mask(summary.endings)
        self._rounds[number - 1] = _mask_of_rounds(summary.rounds)
        self.totals.add(summary)

    def number_at(self, position: int) -> int:
        """The segment that holds a position in the order of commitment; behind the last one where none does."""
        return bisect_right(self._ends, position) + 1

    def first_of(self, number: int) -> int:
        """The position of a segment's first record."""
        return self._ends[number - 2] if number > 1 else 0

    def is_summarised(self, number: int) -> bool:
        return self._endings[number - 1] != 0 or self._ends[number - 1] == self.first_of(number)

    def may_hold(self, number: int, endings: int, rounds: int) -> bool:
        """Whether a record of one of these endings and one of these rounds may be in a summarised segment."""
        return bool(self._endings[number - 1] & endings and self._rounds[number - 1] & rounds)


def endings_mask(reasons: Iterable[str]) -> int:
    """A bit for each reason; all that are no `TerminationReason` share one."""
    mask = 0
    for reason in reasons:
        mask |= _ENDING_BITS.get(reason, _OTHER_ENDING)
    return mask


def rounds_mask(least: int, most: int | None) -> int:
    """The bits of `least` to `most` rounds; None: without an upper bound."""
    last = _MOST_ROUNDS if most is None else min(most, _MOST_ROUNDS)
    first = min(least, _MOST_ROUNDS)
    return (2 << last) - (1 << first) if first <= last else 0


def _mask_of_rounds(rounds: Iterable[int]) -> int:
    mask = 0
    for count in rounds:
        mask |= 1 << min(max(count, 0), _MOST_ROUNDS)
    return mask
