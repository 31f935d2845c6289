"""What the model knows at a moment, as arrays that compiled functions share.

Engines of both sides are numbered through, the user's side first. A *seat* is a conversation on one side: conversation
c of n on side s is seat s · n + c. -1 stands for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from platolm.sizing.curves import EngineCurve

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
SmallInts = NDArray[np.int32]
Flags = NDArray[np.bool_]
Matrix = np.ndarray[Any, np.dtype[np.float64]]

NUM_SIDES = 2


class Engines(NamedTuple):
    """All engines. Times in seconds; `progress` counts steps since the beginning, `held` tokens of the batch."""

    step_table: Matrix  # [engine, batch]
    context_token_s: Floats
    prefill_token_s: Floats
    request_s: Floats
    latency_s: Floats
    max_batch: Ints
    block_tokens: Ints
    num_blocks: Ints
    budget: Ints  # tokens of the KV cache, as workers offer them

    is_alive: Flags
    at: Floats  # until when an engine has been followed
    progress: Floats
    debt_s: Floats  # prompts that are still to be read, while the others wait
    step_s: Floats
    held: Floats
    next_at: Floats  # when its next utterance is complete
    running: Ints
    targets: Matrix  # [engine, slot]: progress at which the utterance is complete
    slots: NDArray[np.int32]  # [engine, slot]: seat
    earliest: Floats  # the least of its targets

    free: Ints  # blocks that hold nothing
    evictable: Ints  # blocks that hold a prefix nobody uses now
    oldest: Ints  # seats, in the order in which they were left
    newest: Ints
    first_waiting: Ints
    last_waiting: Ints
    waiting: Ints

    reserved: Ints
    busy_s: Floats
    generated: Ints


class Conversations(NamedTuple):
    """All conversations: what they will say, how far they are, and their seats."""

    first: Ints  # where a conversation's utterances begin in `tokens`
    tokens: SmallInts  # of each utterance, its end included
    opening_tokens: Ints  # one number
    framing_tokens: Ints  # one number

    said: SmallInts
    context: SmallInts  # tokens of the prompt of the next utterance
    sizes: Ints  # sum over the utterances so far of prompt and utterance
    need: SmallInts
    asked_at: Floats
    started_at: Floats

    # by seat
    engine: SmallInts  # where it is placed
    cached_at: SmallInts
    cached: SmallInts  # blocks
    before: SmallInts  # neighbours in the engine's order of eviction
    after: SmallInts
    waits_before: SmallInts  # who waits after it


class Tally(NamedTuple):
    """What is counted."""

    prompt_tokens: Ints  # one number each, to be added to
    hit_tokens: Ints
    attainable_tokens: Ints
    repeated_tokens: Ints
    moves: Ints
    waits: Ints  # by length
    latencies: Ints
    waited_s: Floats
    conversation_s: Floats
    tokens_by_time: Ints
    busy_by_time: Floats
    busy_until: Floats  # last moment with so large a share of the engines busy, by `BUSY_SHARES`


BUSY_SHARES = (0.9, 0.5)
LEVELS_PER_TENFOLD = 20
SHORTEST_S = 1e-3
NUM_LEVELS = 8 * LEVELS_PER_TENFOLD
NUM_BINS = 4096


def engines_of(curves: Sequence[EngineCurve]) -> Engines:
    """Engines at rest, one for each curve."""
    count = len(curves)
    most = max(curve.max_batch for curve in curves)
    tables: dict[EngineCurve, Floats] = {}
    for curve in curves:
        if curve not in tables:
            tables[curve] = np.array([curve.step_s(batch) for batch in range(most + 1)])
    num_blocks = np.array([curve.kv_tokens // curve.block_tokens for curve in curves], np.int64)

    def floats() -> Floats:
        return np.zeros(count)

    def ints(value: int = 0) -> Ints:
        return np.full(count, value, np.int64)

    return Engines(
        np.stack([tables[curve] for curve in curves]),
        np.array([curve.context_token_s for curve in curves]),
        np.array([curve.prefill_token_s for curve in curves]),
        np.array([curve.request_s for curve in curves]),
        np.array([curve.latency_s for curve in curves]),
        np.array([curve.max_batch for curve in curves], np.int64),
        np.array([curve.block_tokens for curve in curves], np.int64),
        num_blocks,
        np.array([curve.kv_tokens for curve in curves], np.int64),
        np.ones(count, np.bool_),
        floats(), floats(), floats(), floats(), floats(),
        np.full(count, np.inf),
        ints(),
        np.full((count, most), np.inf),
        np.full((count, most), -1, np.int32),
        np.full(count, np.inf),
        num_blocks.copy(), ints(), ints(-1), ints(-1), ints(-1), ints(-1), ints(),
        ints(), floats(), ints(),
    )  # fmt: skip


def conversations_of(first: Ints, tokens: SmallInts, *, opening_tokens: int, framing_tokens: int) -> Conversations:
    """Conversations before their first utterance; `first` has one entry more than there are."""
    count = len(first) - 1
    seats = NUM_SIDES * count

    def small(length: int, value: int = 0) -> SmallInts:
        return np.full(length, value, np.int32)

    return Conversations(
        first, tokens, np.array([opening_tokens]), np.array([framing_tokens]),
        small(count), small(count, opening_tokens), np.zeros(count, np.int64), small(count),
        np.zeros(count), np.zeros(count),
        small(seats, -1), small(seats, -1), small(seats), small(seats, -1), small(seats, -1), small(seats, -1),
    )  # fmt: skip


def empty_tally() -> Tally:
    def one() -> Ints:
        return np.zeros(1, np.int64)

    return Tally(
        one(), one(), one(), one(), one(),
        np.zeros(NUM_LEVELS, np.int64), np.zeros(NUM_LEVELS, np.int64), np.zeros(1), np.zeros(1),
        np.zeros(NUM_BINS, np.int64), np.zeros(NUM_BINS), np.zeros(len(BUSY_SHARES)),
    )  # fmt: skip
