"""Diversity over pairs: of questions by their embeddings, of openings by their words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from curation.stats.intervals import Estimate, Floats, centred_interval, interval, quotients
from platolm.mtld import words_of

_BLOCK_ROWS = 1000


def topic_similarity(embeddings: NDArray[np.floating], owners: Sequence[int], times: Floats) -> Estimate:
    """Mean cosine similarity of all pairs of questions, each with itself too: |mean of the unit vectors|².

    Args:
        embeddings: (questions, dimensions).
        owners: the conversation of each question, as a column of `times`.
        times: (resamples, conversations), how often each conversation is in each resample.
    """
    vectors = np.asarray(embeddings, dtype=np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.where(lengths > 0, lengths, 1)
    num_conversations = times.shape[1]
    sums = np.zeros((num_conversations, units.shape[1]))
    np.add.at(sums, np.asarray(owners), units)
    counts = times @ np.bincount(owners, minlength=num_conversations)
    resampled = quotients(((times @ sums) ** 2).sum(axis=1), counts**2)
    return centred_interval(float((units.mean(axis=0) ** 2).sum()), resampled)


def first_turn_diversity(openings: Sequence[str], times: Floats) -> Estimate | None:
    """1 − mean Jaccard overlap of the words of all pairs of different openings; None without two that have words.

    `times` is (resamples, openings). Memory is bounded: overlaps are made by blocks of rows.
    """
    words = [set(words_of(opening)) for opening in openings]
    kept = np.array([bool(one) for one in words], dtype=bool)
    if kept.sum() < 2:
        return None
    table = _word_table([one for one in words if one])
    times = times[:, kept]
    all_once = np.ones((1, times.shape[1]))
    whole, *resampled = 1 - _mean_overlap(table, np.vstack([all_once, times]))
    return interval(float(whole), np.array(resampled))


def _mean_overlap(table: csr_array, times: Floats) -> Floats:
    """(resamples,): mean overlap of pairs by their weights; NaN in a resample of fewer than two openings."""
    sizes = np.asarray(table.sum(axis=1)).ravel()
    overlaps = np.zeros(len(times))
    for begin in range(0, len(sizes), _BLOCK_ROWS):
        rows = slice(begin, begin + _BLOCK_ROWS)
        shared = (table[rows] @ table.T).toarray()
        share = shared / (sizes[rows, None] + sizes[None, :] - shared)
        np.fill_diagonal(share[:, begin:], 0)
        overlaps += ((times @ share.T) * times[:, rows]).sum(axis=1)
    pairs = times.sum(axis=1) ** 2 - (times**2).sum(axis=1)
    return quotients(overlaps, pairs)


def _word_table(openings: Sequence[set[str]]) -> csr_array:
    """(openings, words): 1 where a word is in an opening."""
    numbers: dict[str, int] = {}
    columns = [numbers.setdefault(word, len(numbers)) for words in openings for word in sorted(words)]
    ends = np.cumsum([0, *(len(words) for words in openings)])
    return csr_array((np.ones(len(columns)), np.array(columns), ends), shape=(len(openings), len(numbers)))
