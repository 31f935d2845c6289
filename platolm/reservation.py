"""How much of a KV cache a conversation reserves: the rule that workers apply and the simulation repeats."""

from __future__ import annotations

import math

HELD_MARGIN = 1.25
"""On top of the mean, for fluctuation."""


def held_tokens(mean_size: float) -> int:
    """What a conversation counts as having held, from the mean over its utterances of prompt and utterance in tokens.

    Conversations in flight are of all ages, so that their caches sum to the mean size times their number, not to the
    final size.
    """
    return math.ceil(HELD_MARGIN * mean_size)
