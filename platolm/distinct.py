"""How many distinct texts there were, in bounded memory: the smallest hashes that were seen (a KMV sketch).

Bar-Yossef et al. 2002: hashes are spread evenly, so that the place of the k-th smallest tells how many there are.
Sketches of parts can be merged, in any order, and are plain numbers as JSON.
"""

from __future__ import annotations

from bisect import bisect_left
from hashlib import blake2b

from pydantic import BaseModel, Field

_HASH_BYTES = 8
_HASHES = 1 << (8 * _HASH_BYTES)


class DistinctCount(BaseModel):
    """Exact up to `size` distinct texts, beyond that within about 1/√size (3 % at the default)."""

    size: int = Field(1024, ge=2, description="how many hashes are kept")
    smallest: list[int] = Field(default_factory=list, description="the smallest hashes, ascending")

    def add(self, text: str) -> None:
        """Count a text."""
        self._keep(int.from_bytes(blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_HASH_BYTES).digest()))

    def merge(self, other: DistinctCount) -> None:
        """Count what another sketch counted too; the smaller size holds from then on."""
        self.size = min(self.size, other.size)
        del self.smallest[self.size :]
        for number in other.smallest:
            self._keep(number)

    @property
    def estimate(self) -> int:
        """Number of distinct texts."""
        if len(self.smallest) < self.size:
            return len(self.smallest)
        return round((self.size - 1) * _HASHES / (self.smallest[-1] + 1))

    def _keep(self, number: int) -> None:
        if len(self.smallest) >= self.size and number >= self.smallest[-1]:
            return
        at = bisect_left(self.smallest, number)
        if at < len(self.smallest) and self.smallest[at] == number:
            return
        self.smallest.insert(at, number)
        del self.smallest[self.size :]
