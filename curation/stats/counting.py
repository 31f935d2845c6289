"""One part of a dataset, counted: pure, so that any process can do it."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curation.dialogue import Dialogue
from curation.stats.figures import LENGTH_CAP
from curation.stats.goodbyes import GoodbyeCounts, decision_of
from curation.stats.intervals import ResampledSums, weights
from curation.stats.lengths import LENGTH_BINS, length_rows
from curation.stats.measures import Column, carried_counts, row_of
from curation.stats.parts import Part
from curation.stats.sample import Sampled, drawn, lot, sampled
from platolm.conversation import ASSISTANT, USER
from platolm.distinct import DistinctCount
from platolm.realism import Realism, observe
from platolm.seed_modes import given_positions
from platolm.tokenizer import HubTokenizer, load_tokenizer

OTHERS = "others"
"""Stands for names beyond the first `MAX_NAMES`."""

MAX_NAMES = 100
"""Endings and reasons are counted by name; data can make any number of names."""

_MAX_NAME_CHARS = 200
_BLOCK_CONVERSATIONS = 500
_BLOCK_CHARS = 8_000_000
_DISTINCT_SIZE = 2**14


def begin_process() -> None:
    """For a process that counts: Ctrl-C is for the one that reads, which then ends it; it has one core."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    threadpool_limits(1, "blas")


@dataclass(frozen=True)
class Counting:
    """How parts are counted. `tokenizer` is a model folder or a hub name; None: the counts that records carry."""

    seed: int
    sample: int
    tokenizer: str | None = None


@dataclass
class Counted:
    """What was counted; parts can be merged, in their order for the same last digits."""

    sums: ResampledSums = field(default_factory=lambda: ResampledSums(len(Column)))
    lengths: ResampledSums = field(default_factory=lambda: ResampledSums(len(LENGTH_BINS)))
    realism: Realism = field(default_factory=lambda: Realism(openings=DistinctCount(size=_DISTINCT_SIZE)))
    user_lengths: Counter[int] = field(default_factory=Counter)
    endings: Counter[str] = field(default_factory=Counter)
    goodbyes: GoodbyeCounts = field(default_factory=GoodbyeCounts)
    unreadable: Counter[str] = field(default_factory=Counter)
    sample: list[Sampled] = field(default_factory=list)

    def merge(self, other: Counted, sample_size: int) -> None:
        """Count another part too."""
        self.sums.merge(other.sums)
        self.lengths.merge(other.lengths)
        self.realism.merge(other.realism)
        self.user_lengths += other.user_lengths
        count_names(self.endings, other.endings)
        self.goodbyes.merge(other.goodbyes)
        count_names(self.unreadable, other.unreadable)
        self.sample = drawn([*self.sample, *other.sample], sample_size)


def count_names(total: Counter[str], more: Mapping[str, int]) -> None:
    """Add counts by name, of which there is a limited number."""
    for name, number in more.items():
        short = name[:_MAX_NAME_CHARS]
        total[short if short in total or len(total) < MAX_NAMES else OTHERS] += number


def count(number: int, part: Part, counting: Counting, below: int | None = None) -> Counted:
    """Count part `number` of the data. Conversations whose lot is not `below` cannot be in the sample any more.

    Raises:
        OutputError: a segment cannot be read.
        TokenizerError: there is no such tokenizer.
    """
    counted = Counted()
    position = 0
    for block in _blocks(_dialogues(part, counted)):
        _count_block(counted, block, (counting.seed, number, position), counting.tokenizer)
        for place, dialogue in enumerate(block, position):
            ticket = lot(counting.seed, number, place)
            if below is None or ticket < below:
                counted.sample.append(sampled(ticket, dialogue))
        counted.sample = drawn(counted.sample, counting.sample)
        position += len(block)
    return counted


def _dialogues(part: Part, counted: Counted) -> Iterator[Dialogue]:
    for item in part.read():
        if isinstance(item, Dialogue):
            yield item
        else:
            count_names(counted.unreadable, {item.reason: 1})


def _blocks(dialogues: Iterable[Dialogue]) -> Iterator[list[Dialogue]]:
    """Some hundreds at a time, fewer of long ones."""
    block: list[Dialogue] = []
    num_chars = 0
    for dialogue in dialogues:
        block.append(dialogue)
        num_chars += sum(len(one.content) for one in dialogue.messages)
        if len(block) >= _BLOCK_CONVERSATIONS or num_chars >= _BLOCK_CHARS:
            yield block
            block, num_chars = [], 0
    if block:
        yield block


def _count_block(counted: Counted, block: Sequence[Dialogue], where: tuple[int, ...], tokenizer: str | None) -> None:
    observed = [observe(dialogue.messages, given_positions(dialogue.fields)) for dialogue in block]
    counted.realism.add_all(observed)
    lengths = [seen.user_words for seen in observed]
    counted.user_lengths.update(min(length, LENGTH_CAP) for of_one in lengths for length in of_one)
    for dialogue in block:
        if isinstance(ending := dialogue.fields.get("termination_reason"), str):
            count_names(counted.endings, {ending: 1})
        if (decision := decision_of(dialogue.fields)) is not None:
            counted.goodbyes.add(decision)
    rows = [row_of(*each) for each in zip(block, observed, _token_counts(block, tokenizer), strict=True)]
    times = weights(where, len(rows))
    counted.sums.add(np.array(rows, dtype=np.float64), times)
    counted.lengths.add(length_rows(lengths), times)


def _token_counts(block: Sequence[Dialogue], tokenizer: str | None) -> list[list[int] | None]:
    """For each dialogue the tokens of its utterances, counted here or carried by the record."""
    if tokenizer is None:
        return [carried_counts(dialogue) for dialogue in block]
    texts = [[one.content for one in dialogue.messages if one.role in (USER, ASSISTANT)] for dialogue in block]
    ids = iter(_loaded(tokenizer).encode_many([text for of_one in texts for text in of_one]))
    return [[len(next(ids)) for _ in of_one] for of_one in texts]


@lru_cache(maxsize=1)
def _loaded(source: str) -> HubTokenizer:
    return load_tokenizer(source)
