"""Dialogues that say the same: exactly, by a digest, or nearly, by MinHash of word shingles; both in linear time.

A shingle is five words in a row of one turn, with the turn's role: none reaches over the end of a turn, and a question
is never equal to an answer of the same words. A word is what stands between white space; a turn's first is its role.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rensa import RMinHash  # type: ignore[import-untyped]

from platolm.conversation import Message

NUM_VALUES = 128
"""Length of a signature: the similarity that it estimates is off by about 0.035 at 0.8 (one standard deviation)."""

NUM_BANDS = 32
"""A pair is looked at where one band of four values agrees: of pairs with similarity 0.8 all but one in 10 million."""

SHINGLE_WORDS = 5
_SEED = 42
_DIGEST_BYTES = 16
# Chinese, Japanese, Thai, Lao, Burmese, Khmer: scripts without spaces between words, where each character is one.
_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
_NO_WORD = "\x00"
_FACTOR = np.uint64(0x9E3779B97F4A7C15)  # odd, its bits look random: 2**64 divided by the golden ratio
_SHIFT = np.uint64(32)

Signatures = NDArray[np.uint32]


class Repeat(NamedTuple):
    """Dialogue number `position` nearly says what the earlier number `of` does."""

    position: int
    of: int
    similarity: float


def digest_of(messages: Sequence[Message]) -> bytes:
    """16 bytes that are equal where all roles and texts are."""
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    for message in messages:
        for text in (message.role, message.content):
            content = text.encode("utf-8", "surrogatepass")
            digest.update(len(content).to_bytes(8, "little"))
            digest.update(content)
    return digest.digest()


def signatures_of(dialogues: Sequence[Sequence[Message]]) -> Signatures:
    """A row of `NUM_VALUES` for each dialogue's messages; two rows agree in as many values as they share shingles."""
    if not dialogues:
        return np.empty((0, NUM_VALUES), np.uint32)
    shingles = [shingles_of(messages) for messages in dialogues]
    offsets = np.cumsum([0, *map(len, shingles)], dtype=np.uint64)
    rows = RMinHash.digest_matrix_from_flat_token_hashes(np.concatenate(shingles), offsets, NUM_VALUES, _SEED)
    return np.array(rows.to_rows(), np.uint32)


def shingles_of(messages: Sequence[Message]) -> NDArray[np.uint64]:
    """A hash of each shingle; a turn shorter than one is one, filled up."""
    turns = [_words(message) for message in messages]
    if not turns:
        return np.empty(0, np.uint64)
    (hashes,) = RMinHash.hash_token_sets([[word for turn in turns for word in turn]])
    words = np.array(hashes, np.uint64)
    rolled = words[: len(words) - SHINGLE_WORDS + 1].copy()
    for position in range(1, SHINGLE_WORDS):
        rolled *= _FACTOR
        rolled += words[position : len(words) - SHINGLE_WORDS + 1 + position]
    lengths = np.array([len(turn) for turn in turns])
    ends = np.cumsum(lengths)
    rolled ^= np.repeat(words[ends - lengths], lengths)[: len(rolled)]  # the role of the turn it begins in
    rolled ^= rolled >> _SHIFT
    rolled *= _FACTOR
    within = np.arange(len(rolled)) + SHINGLE_WORDS <= np.repeat(ends, lengths)[: len(rolled)]
    return rolled[within]


def near_repeats(signatures: Signatures, similarity: float) -> Iterator[Repeat]:
    """Every row that is about as similar to an earlier row which is none itself; with the most similar one it met.

    The work is linear, whatever the data: a bucket of equal bands is asked only for the first row that is in it. A row
    that repeats an earlier one agrees with it in most bands, so that it is found even where others took some.
    """
    buckets, num_buckets = _buckets(signatures)
    firsts = np.full(num_buckets, -1, np.int64)
    for position in range(len(signatures)):
        own = buckets[position]
        met = firsts[own]
        candidates = np.unique(met[met >= 0])
        if len(candidates):
            estimates = np.mean(signatures[candidates] == signatures[position], axis=1)
            best = int(np.argmax(estimates))
            if estimates[best] >= similarity:
                yield Repeat(position, int(candidates[best]), float(estimates[best]))
                continue
        firsts[own[met < 0]] = position


def _words(message: Message) -> list[str]:
    text = message.content.casefold()
    if not text.isascii():
        text = _WITHOUT_SPACES.sub(r" \g<0> ", text)
    words = [f"{message.role}{_NO_WORD}", *text.split()]
    return words + [_NO_WORD] * (SHINGLE_WORDS - len(words))


def _buckets(signatures: Signatures) -> tuple[NDArray[np.int32], int]:
    """For each row and band the number of its bucket, and how many buckets there are in all bands."""
    num_parts = NUM_VALUES // NUM_BANDS // 2  # of 64 bits
    bands = np.ascontiguousarray(signatures).view(np.uint64).reshape(len(signatures), NUM_BANDS, num_parts)
    buckets = np.empty((len(signatures), NUM_BANDS), np.int32)
    num_buckets = 0
    for band in range(NUM_BANDS):
        keys = np.zeros(len(signatures), np.uint64)
        for part in range(num_parts):
            keys = (keys ^ (keys >> _SHIFT)) * _FACTOR + bands[:, band, part]
        values, numbers = np.unique(keys, return_inverse=True)
        buckets[:, band] = numbers + num_buckets
        num_buckets += len(values)
    return buckets, num_buckets
