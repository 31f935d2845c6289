"""Lengths counted in bins, so that a distribution takes little room and parts of it can be added up."""

from __future__ import annotations

Counts = dict[int, int]
"""How many there are, by number or by the upper bound of a bin."""


def upper_bound(length: int) -> int:
    """The power of two that a length is counted at: 16 for 9 to 16, 1 for none or one."""
    return 1 << max(0, length - 1).bit_length()
