"""An interpolated Kneser-Ney n-gram model over token ids: the opponent that a neural model must beat.

Chen & Goodman 1999, "An empirical study of smoothing techniques", modified Kneser-Ney: three discounts an order, set
from the counts of counts; lower orders count distinct left contexts; below the unigrams stands the uniform
distribution, so every token has a probability.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

Context = tuple[int, ...]


@dataclass
class _Level:
    """Counts of one order: tokens after each context, and what a context gives away to the order below."""

    counts: dict[Context, Counter[int]]
    discounts: tuple[float, float, float]
    totals: dict[Context, int] = field(init=False)
    backoffs: dict[Context, float] = field(init=False)

    def __post_init__(self) -> None:
        self.totals = {context: sum(after.values()) for context, after in self.counts.items()}
        self.backoffs = {
            context: sum(self.discounts[min(count, 3) - 1] for count in after.values()) / self.totals[context]
            for context, after in self.counts.items()
        }

    def probability(self, context: Context, token: int, lower: float) -> float:
        total = self.totals.get(context)
        if total is None:
            return lower
        count = self.counts[context].get(token, 0)
        kept = count - self.discounts[min(count, 3) - 1] if count else 0.0
        return kept / total + self.backoffs[context] * lower


class KneserNey:
    """Probabilities of the next token after up to `order - 1` earlier ones."""

    def __init__(self, levels: Sequence[_Level], vocab_size: int) -> None:
        self._levels = levels
        self._vocab_size = vocab_size

    @property
    def order(self) -> int:
        return len(self._levels)

    @classmethod
    def trained(cls, sequences: Iterable[Sequence[int]], *, order: int, vocab_size: int) -> KneserNey:
        """Count the sequences' n-grams and set the discounts."""
        highest: Counter[Context] = Counter()
        starts: list[Counter[Context]] = [Counter() for _ in range(order)]
        for sequence in sequences:
            ids = tuple(sequence)
            highest.update(ids[i : i + order] for i in range(len(ids) - order + 1))
            for size in range(1, min(order, len(ids) + 1)):  # nothing stands left of these: they keep their own count
                starts[size][ids[:size]] += 1
        levels: list[_Level] = []
        grams = highest
        for size in range(order, 0, -1):
            levels.append(_Level(_by_context(grams), _discounts(grams)))
            shorter = Counter(gram[1:] for gram in grams)
            shorter.update(starts[size - 1])
            grams = shorter
        return cls(levels[::-1], vocab_size)

    def probability(self, context: Sequence[int], token: int) -> float:
        """P(token | the last `order - 1` of context); sums to one over the vocabulary."""
        value = 1 / self._vocab_size
        for size, level in enumerate(self._levels):
            if size > len(context):
                break
            value = level.probability(tuple(context[len(context) - size :]), token, value)
        return value

    def nats(self, ids: Sequence[int], position: int) -> float:
        """−log P of the token at `position`, given what stands before it."""
        return -math.log(self.probability(ids[max(0, position - self.order + 1) : position], ids[position]))


def _by_context(grams: Counter[Context]) -> dict[Context, Counter[int]]:
    result: defaultdict[Context, Counter[int]] = defaultdict(Counter)
    for gram, count in grams.items():
        result[gram[:-1]][gram[-1]] += count
    return dict(result)


def _discounts(grams: Counter[Context]) -> tuple[float, float, float]:
    """Chen & Goodman's three discounts; where counts of counts are too few, the customary 0.75."""
    num = Counter(count for count in grams.values() if count <= 4)
    if not all(num[count] for count in (1, 2, 3, 4)):
        return (0.75, 0.75, 0.75)
    ratio = num[1] / (num[1] + 2 * num[2])
    first, second, third = (count - (count + 1) * ratio * num[count + 1] / num[count] for count in (1, 2, 3))
    return (_between(first, 1), _between(second, 2), _between(third, 3))


def _between(discount: float, count: int) -> float:
    return min(max(discount, 0.05), count - 0.05)
