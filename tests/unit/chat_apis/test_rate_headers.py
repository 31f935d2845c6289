"""What headers say of limits."""

from __future__ import annotations

import pytest

from platolm.chat_apis.pace import HeardLimits
from platolm.chat_apis.rate_headers import duration_s, heard_limits, pause_asked_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("6m0s", 360.0),
        ("1s", 1.0),
        ("17ms", 0.017),
        ("8.64s", 8.64),
        ("2m59.56s", 179.56),
        ("1h2m3s", 3723.0),
        ("1d", 86400.0),
        ("12", 12.0),
        ("", None),
        ("soon", None),
        ("3 s", None),
        ("-1", None),
        ("nan", None),
    ],
)
def test_durations(text: str, seconds: float | None) -> None:
    assert duration_s(text) == (None if seconds is None else pytest.approx(seconds))


def test_limits_are_heard() -> None:
    headers = {
        "x-ratelimit-limit-requests": "600",
        "x-ratelimit-limit-tokens": "150000",
        "x-ratelimit-remaining-requests": "599",
        "x-ratelimit-reset-requests": "100ms",
    }
    assert heard_limits(headers) == HeardLimits(requests=600, tokens=150_000)


def test_what_is_used_up_is_a_pause_until_it_is_there_again() -> None:
    headers = {
        "x-ratelimit-remaining-requests": "0",
        "x-ratelimit-reset-requests": "2s",
        "x-ratelimit-remaining-tokens": "0",
        "x-ratelimit-reset-tokens": "6m0s",
    }
    assert heard_limits(headers).pause_s == 360


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x-ratelimit-limit-requests": "-1", "x-ratelimit-remaining-tokens": "-1", "x-ratelimit-reset-tokens": "0"},
        {"x-ratelimit-limit-requests": "many", "x-ratelimit-remaining-requests": "0"},
        {"x-ratelimit-limit-requests": "0", "x-ratelimit-limit-tokens": "inf"},
    ],
)
def test_what_cannot_be_used_says_nothing(headers: dict[str, str]) -> None:
    assert heard_limits(headers) == HeardLimits()


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
        ({"retry-after-ms": "later", "retry-after": "20"}, 20.0),
        ({}, None),
    ],
)
def test_the_pause_that_a_refusal_asks_for(headers: dict[str, str], seconds: float | None) -> None:
    assert pause_asked_s(headers) == seconds
