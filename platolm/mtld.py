"""MTLD, the measure of textual lexical diversity: how long a run of words stays varied.

McCarthy and Jarvis 2010: words are read until the share of distinct ones falls to the threshold; that is one factor,
and counting begins anew. A text's measure is its number of words over its number of factors, the mean of reading
forwards and backwards. The paper reports it for each question, at 0.72.
"""

from __future__ import annotations

import string
from collections.abc import Iterable, Sequence

MTLD_THRESHOLD = 0.72

_DASHES = "-–—"
_DIGITS = "0123456789"
_WORD_CHARACTERS = str.maketrans(
    {**dict.fromkeys(string.punctuation, " "), **dict.fromkeys(_DASHES + _DIGITS, None)},
)


def words_of(text: str) -> list[str]:
    """The words that MTLD counts: in lower case, without digits, dashes joined, other ASCII punctuation a space."""
    return text.lower().translate(_WORD_CHARACTERS).split()


def mtld(words: Sequence[str], threshold: float = MTLD_THRESHOLD) -> float | None:
    """The measure of a text's words, in words; None without words.

    Equal to the package lexicalrichness on `words_of` the same text. A text shorter than a factor, as most questions
    are, is given as long as its partial factor makes it; one whose words are all distinct is as long as it is.
    """
    if not words:
        return None
    if len(set(words)) == len(words):
        return float(len(words))
    return (_one_way(words, len(words), threshold) + _one_way(reversed(words), len(words), threshold)) / 2


def _one_way(words: Iterable[str], num_words: int, threshold: float) -> float:
    """Words a factor, read in one direction; some word comes twice, so that there is a part of a factor at least.

    A word that is new never lowers the share of distinct ones, so the share is looked at where one comes again.
    """
    seen: set[str] = set()
    factors, num_again = 0.0, 0
    for word in words:
        if word not in seen:
            seen.add(word)
            continue
        num_again += 1
        if len(seen) / (len(seen) + num_again) <= threshold:
            factors += 1
            num_again = 0
            seen.clear()
    if seen:
        factors += (1 - len(seen) / (len(seen) + num_again)) / (1 - threshold)
    return num_words / factors
