"""A judge's words as a number; what cannot be read is None, never a guess."""

from __future__ import annotations

import ast
import re

LOWEST, HIGHEST = 1.0, 10.0

_NUMBER = r"(\d+\.?\d*)"
_MARK = re.compile(rf"\[\[{_NUMBER}\]\]")
_MARK_IN_ONE_BRACKET = re.compile(rf"\[{_NUMBER}\]")
_CHOICE = re.compile(r"\[\[([ABC])\]\]")
_PREFERENCES = {"A": 1.0, "B": 0.0, "C": 0.5}


def rating_of(judgment: str) -> float | None:
    """The mark from 1 to 10 in `[[…]]`, or else in `[…]`; of several the first, as FastChat reads it."""
    found = _MARK.search(judgment) or _MARK_IN_ONE_BRACKET.search(judgment)
    rating = float(found[1]) if found else None
    return rating if rating is not None and LOWEST <= rating <= HIGHEST else None


def preference_of(judgment: str) -> float | None:
    """How much the first of two answers is preferred: 1, 0, or 0.5 for a draw.

    Read are AlpacaEval's ranking, a list of `{"model": "model_1", "rank": 1}`, and else the last `[[A]]`, `[[B]]` or
    `[[C]]`.
    """
    ranked = _rank_of_first(judgment)
    if ranked is not None:
        return ranked
    choices = _CHOICE.findall(judgment)
    return _PREFERENCES[choices[-1]] if choices else None


def _rank_of_first(judgment: str) -> float | None:
    try:
        ranking = ast.literal_eval(judgment.strip())
        ranks = [entry["rank"] for entry in ranking if entry["model"] == "model_1"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        return None
    return {1: 1.0, 2: 0.0}.get(ranks[0]) if ranks and isinstance(ranks[0], int) else None
