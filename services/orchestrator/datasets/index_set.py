"""A set of conversation indices in one bit each."""

from __future__ import annotations

from collections.abc import Iterable


class IndexSet:
    """Indices from 0 to below `size`, in `size / 8` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._bits = bytearray((size + 7) // 8)
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __contains__(self, index: int) -> bool:
        return 0 <= index < self._size and bool(self._bits[index >> 3] >> (index & 7) & 1)

    def update(self, indices: Iterable[int]) -> None:
        """Add indices; those that are in it change nothing.

        Raises:
            ValueError: one is not below `size`.
        """
        for index in indices:
            if not 0 <= index < self._size:
                raise ValueError(f"there is no conversation {index} among {self._size}")
            bit = 1 << (index & 7)
            if not self._bits[index >> 3] & bit:
                self._bits[index >> 3] |= bit
                self._count += 1
