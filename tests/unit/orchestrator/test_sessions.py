"""A browser's cookie: whose it is, how long it lasts, and from where it may be sent."""

from __future__ import annotations

import itsdangerous.timed
import pytest
from pydantic import SecretStr
from starlette.datastructures import Headers

from services.orchestrator.web.sessions import LIFETIME_S, Sessions, is_from_here

FIRST, SECOND = "first-key-1234", "second-key-1234"
KEYS = SecretStr(f"{FIRST}, {SECOND}")


class Clock:
    """What itsdangerous takes for the time, in seconds since the epoch."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(itsdangerous.timed, "time", clock)
    return clock


@pytest.mark.parametrize("key", [FIRST, SECOND])
def test_a_cookie_of_either_key_holds_in_every_process(key: str) -> None:
    assert Sessions(KEYS).hold(Sessions(KEYS).new(key))


def test_a_cookie_of_a_key_that_was_taken_away() -> None:
    cookie = Sessions(KEYS).new(FIRST)
    assert Sessions(SecretStr(FIRST)).hold(cookie)
    assert not Sessions(SecretStr(SECOND)).hold(cookie)


def test_a_cookie_does_not_show_its_key() -> None:
    assert FIRST not in Sessions(KEYS).new(FIRST)


def test_nobody_else_is_given_one() -> None:
    with pytest.raises(KeyError):
        Sessions(KEYS).new("third-key-1234")


def test_a_cookie_ends_after_seven_days(clock: Clock) -> None:
    assert LIFETIME_S == 7 * 24 * 3600
    sessions = Sessions(KEYS)
    cookie = sessions.new(FIRST)
    clock.now += LIFETIME_S
    assert sessions.hold(cookie)
    clock.now += 1
    assert not sessions.hold(cookie)


def test_a_cookie_from_the_future(clock: Clock) -> None:
    sessions = Sessions(KEYS)
    cookie = sessions.new(FIRST)
    clock.now -= 1
    assert not sessions.hold(cookie)


def test_every_changed_sign_is_noticed() -> None:
    sessions = Sessions(SecretStr(FIRST))
    cookie = sessions.new(FIRST)
    # Not the very last: two of its six bits are padding, and say nothing.
    for position, sign in enumerate(cookie[:-1]):
        changed = cookie[:position] + ("a" if sign != "a" else "b") + cookie[position + 1 :]
        assert not sessions.hold(changed), position


@pytest.mark.parametrize("cookie", [None, "", "logged-in", "logged-in.", "..", "é", "logged-in.awQkUw.é"])
def test_what_is_no_cookie(cookie: str | None) -> None:
    assert not Sessions(KEYS).hold(cookie)


@pytest.mark.parametrize(
    ("headers", "from_here"),
    [
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "none"}, True),
        ({"Sec-Fetch-Site": "same-site"}, False),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "cross-site", "Origin": "http://api:8000", "Host": "api:8000"}, False),
        ({"Sec-Fetch-Site": ""}, False),
        ({"Origin": "http://api:8000", "Host": "api:8000"}, True),
        ({"Origin": "https://API", "Host": "api"}, True),
        ({"Origin": "http://api:8000", "Host": "api"}, False),
        ({"Origin": "http://api:8000.evil", "Host": "api:8000"}, False),
        ({"Origin": "http://evil", "Host": "api"}, False),
        ({"Origin": "http://user@api", "Host": "api"}, False),
        ({"Origin": "null", "Host": "api"}, False),
        ({"Origin": "null", "Host": "null"}, False),
        ({"Origin": "", "Host": ""}, False),
        ({"Origin": "http://[", "Host": "api"}, False),
    ],
)
def test_where_a_request_comes_from(headers: dict[str, str], from_here: bool) -> None:
    for unless_said in (True, False):
        assert is_from_here(Headers(headers), unless_said=unless_said) == from_here


def test_a_request_that_does_not_say() -> None:
    assert is_from_here(Headers({"Host": "api"}), unless_said=True)
    assert not is_from_here(Headers({"Host": "api"}), unless_said=False)
