"""How likely a simulator was to say goodbye, and two sides that do nothing but say it to each other."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Protocol

LIKELIEST = 5
"""Tokens in each place whose probability is asked for: every token with more than a sixth is among them."""
LOOP_TURNS = 4
"""So many goodbyes in a row, by the two sides in turns, are a loop: the first of each side may be meant."""
MAX_GOODBYE_CHARS = 200
"""A longer utterance says something besides."""

_GOODBYE = re.compile(
    r"\b(?:good ?bye|bye(?:-bye)?|farewell|see you|take care|good ?night|talk to you (?:soon|later)"
    r"|have a (?:great|good|nice|wonderful|lovely) (?:day|evening|night|weekend|time|one|rest)|until next time)\b",
    re.IGNORECASE,
)


def goodbye_probability(likeliest: Iterable[Mapping[str, float]], markers: Iterable[str]) -> float:
    """How likely an utterance was to hold a goodbye.

    Args:
        likeliest: for each token of the utterance, the likeliest tokens in its place: by their text, the natural
            logarithm of their probability. What is not among them counts as impossible.
        markers: goodbyes that are one token.
    """
    markers = tuple(markers)
    goes_on = 1.0
    for position in likeliest:
        goes_on *= max(0.0, 1.0 - sum(math.exp(position[marker]) for marker in markers if marker in position))
    return 1.0 - goes_on


class Said(Protocol):
    """What is looked at of an utterance."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


def is_goodbye(content: str) -> bool:
    """Whether an utterance is a goodbye and little else. A question is none: it wants an answer."""
    return len(content) <= MAX_GOODBYE_CHARS and "?" not in content and bool(_GOODBYE.search(content))


def is_goodbye_loop(turns: Sequence[Said]) -> bool:
    """Whether the last `LOOP_TURNS` utterances are goodbyes of the two sides in turns."""
    last = turns[-LOOP_TURNS:]
    if len(last) < LOOP_TURNS or not is_goodbye(last[-1].content):
        return False
    alternate = all(before.role != after.role for before, after in pairwise(last))
    return alternate and all(is_goodbye(turn.content) for turn in last)
