"""What an answer's headers say of rate limits: `Retry-After`, and `x-ratelimit-*` as OpenAI, Azure and others send."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from platolm.chat_apis.pace import HeardLimits
from platolm.engine_client import retry_after_s

_UNITS_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))+")


def heard_limits(headers: Mapping[str, str]) -> HeardLimits:
    """Limits a minute, and the pause until a limit that is used up is there again; names in lower case.

    What cannot be read, and Azure's -1 for "unknown", says nothing.
    """
    pauses = [_used_up_for_s(headers, what) for what in ("requests", "tokens")]
    return HeardLimits(
        requests=_positive(headers.get("x-ratelimit-limit-requests")),
        tokens=_positive(headers.get("x-ratelimit-limit-tokens")),
        pause_s=max(pauses),
    )


def pause_asked_s(headers: Mapping[str, str]) -> float | None:
    """Seconds that a refusal asks to wait: `Retry-After-Ms` (Azure), else `Retry-After`; None where it does not."""
    milliseconds = _number(headers.get("retry-after-ms"))
    return retry_after_s(headers.get("retry-after")) if milliseconds is None else milliseconds / 1000


def duration_s(text: str) -> float | None:
    """Seconds of a duration such as `6m0s`, `17ms` or `8.64s`; a bare number is of seconds. None where it is none."""
    if _DURATION.fullmatch(text):
        return sum(float(number) * _UNITS_S[unit] for number, unit in _PART.findall(text))
    return _number(text)


def _used_up_for_s(headers: Mapping[str, str], what: str) -> float:
    if _number(headers.get(f"x-ratelimit-remaining-{what}")) != 0:
        return 0.0
    return duration_s(headers.get(f"x-ratelimit-reset-{what}", "")) or 0.0


def _positive(text: str | None) -> int | None:
    number = _number(text)
    return int(number) if number is not None and number >= 1 else None


def _number(text: str | None) -> float | None:
    """A finite number, not negative."""
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if math.isfinite(number) and number >= 0 else None
