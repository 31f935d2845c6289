"""When two utterances are the same word for word."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

MIN_REPEATED_WORDS = 4
"""A shorter utterance ("Thank you!") may come again; it counts as repeated only twice in a row."""

Said = TypeVar("Said")


def compared_words(text: str) -> list[str]:
    """The words of a text as they are compared: case and white space do not count."""
    return text.casefold().split()


def repeatable(earlier: Sequence[Said], num_words: int) -> Sequence[Said]:
    """Which of a speaker's earlier utterances one of so many words must not equal."""
    return earlier if num_words >= MIN_REPEATED_WORDS else earlier[-1:]
