"""Chat APIs as options name them: `NAME`, or `NAME=WEIGHT`."""

from __future__ import annotations

from collections.abc import Sequence

from platolm.errors import InputError


def weights_of(given: Sequence[str] | None) -> dict[str, float] | None:
    """Each API's weight, 1 where none is said; None where no API is given.

    Raises:
        InputError: a weight is no number, or a name comes twice.
    """
    weights: dict[str, float] = {}
    for one in given or []:
        name, _, weight = one.partition("=")
        if name in weights:
            raise InputError(f"chat API {name} is given twice: give it one weight, {name}=WEIGHT")
        weights[name] = _number(weight, one) if "=" in one else 1.0
    return weights or None


def _number(text: str, option: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputError(f"{option}: the weight {text!r} is no number, write it as openai=2.5") from None
