"""UserLM's measures of a simulated user that are sums over conversations (Naous et al. 2025, arXiv 2510.06552).

Its first-turn diversity is over pairs, see `curation.stats.diversity`; repeats and role slips are in `platolm.realism`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from curation.stats.goodbyes import decision_of
from platolm.conversation import USER, Message
from platolm.mtld import words_of
from platolm.spec import SeedMode

Ends = tuple[int, int, int]
"""Ends that were predicted rightly, that were predicted, and that there were."""


def intent_of(fields: Mapping[str, Any]) -> str | None:
    """What the simulated user was to want: the record's `intent`, or what a run in intent mode told its simulator."""
    intent = fields.get("intent")
    if intent is None and fields.get("seed_mode") == SeedMode.INTENT:
        side = fields.get("simulator")
        intent = side.get("system_prompt") if isinstance(side, Mapping) else None
    return intent if isinstance(intent, str) and intent.strip() else None


def jaccard(one: set[str], other: set[str]) -> float:
    """Shared words over all words of the two; 0 where both are empty."""
    union = len(one | other)
    return len(one & other) / union if union else 0.0


def mean_overlap(messages: Iterable[Message], intent: str | None) -> tuple[float, int]:
    """Sum of the overlaps of the user's turns with the intent, and how many turns; blank turns do not count."""
    if intent is None:
        return 0.0, 0
    wanted = set(words_of(intent))
    turns = [set(words_of(message.content)) for message in messages if message.role == USER]
    overlaps = [jaccard(words, wanted) for words in turns if words]
    return sum(overlaps), len(overlaps)


def ends_of(fields: Mapping[str, Any]) -> Ends:
    """Counts over the record's `turns` that carry both `end_predicted` and `end_actual` (true or false).

    A turn stands for a place where the user may stop: the simulator's word on it, and whether the person did. A run
    that continues people's conversations asks once, where their turns end (`curation.stats.goodbyes`).
    """
    turns = fields.get("turns")
    hit = predicted = actual = 0
    if (decision := decision_of(fields)) is not None:
        return int(decision.predicted and decision.actual), int(decision.predicted), int(decision.actual)
    for turn in turns if isinstance(turns, list) else ():
        said, was = (turn.get("end_predicted"), turn.get("end_actual")) if isinstance(turn, Mapping) else (None, None)
        if isinstance(said, bool) and isinstance(was, bool):
            hit, predicted, actual = hit + (said and was), predicted + said, actual + was
    return hit, predicted, actual
