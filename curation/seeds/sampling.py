"""Which of the seeds are drawn: by a hash, so that neither their order nor the number of processes matters.

A draw keeps no more than the wanted number of a stratum, whatever passes through, and a larger draw of one seed holds
every smaller one (without strata).
"""

from __future__ import annotations

import hashlib
import heapq
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from curation.seeds.sources import Found

_SPACE = re.compile(r"\s+")


def digest_of(question: str) -> bytes:
    """16 bytes, the same for questions that differ in case, white space or the form of a letter alone.

    Signs count: "What is C?" and "What is C++?" are two questions.
    """
    text = _SPACE.sub(" ", unicodedata.normalize("NFKC", question).casefold()).strip()
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def shares_of(counts: Mapping[str, int], num_wanted: int) -> dict[str, int]:
    """How many of each stratum, in proportion to its size, `num_wanted` in all (or everything there is).

    By largest remainders, the first by name where they are equal: plain rounding gives one more or less in all.
    """
    total = sum(counts.values())
    num_wanted = min(num_wanted, total)
    exact = {name: divmod(num_wanted * count, total) for name, count in counts.items()}
    shares = {name: whole for name, (whole, _) in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (-exact[name][1], name))
    for name in by_remainder[: num_wanted - sum(shares.values())]:
        shares[name] += 1
    return shares


@dataclass
class Draw:
    """A draw of `num_wanted` seeds. With strata, each has its share; call `offer` with every candidate first."""

    num_wanted: int
    seed: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    _best: dict[str, list[tuple[int, int, Found]]] = field(default_factory=dict)

    def offer(self, found: Found, digest: bytes, stratum: str = "") -> None:
        """Let a candidate take part; `digest` is of its question."""
        place = sum(self.counts.values())
        self.counts[stratum] += 1
        entry = (-self._rank(digest), -place, found)
        heap = self._best.setdefault(stratum, [])
        if len(heap) < self.num_wanted:
            heapq.heappush(heap, entry)
        else:
            heapq.heappushpop(heap, entry)

    def shares(self) -> dict[str, int]:
        """How many each stratum gives."""
        return shares_of(self.counts, self.num_wanted) if self.counts else {}

    def drawn(self) -> list[Found]:
        """What was drawn, in an order that is as random as the draw."""
        chosen: list[tuple[int, int, Found]] = []
        for stratum, share in self.shares().items():
            chosen += heapq.nlargest(share, self._best[stratum], key=lambda entry: entry[:2])
        return [found for _, _, found in sorted(chosen, key=lambda entry: entry[:2], reverse=True)]

    def _rank(self, digest: bytes) -> int:
        return int.from_bytes(hashlib.blake2b(digest, key=str(self.seed).encode(), digest_size=8).digest(), "big")
