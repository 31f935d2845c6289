"""The rules of an API's pace, a call at a time."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest

from platolm.chat_apis import pace as rules
from platolm.chat_apis.pace import SLOT_S, SPREAD_S, WINDOW_SLOTS, HeardLimits, Pace, RateLimits, Reservation

START = 1000.0


def taken(pace: Pace, now: float, tokens: int = 0) -> Reservation:
    """A request that does not have to wait."""
    assert pace.wait_s(now, tokens) == 0
    return pace.take(now, tokens)


def take_all(pace: Pace, start: float, until: float, tokens: int = 0) -> list[float]:
    """When requests go that are always there."""
    times, now = list[float](), start
    while True:
        wait_s = pace.wait_s(now, tokens)
        if now + wait_s >= until:
            return times
        now += wait_s
        if wait_s == 0:
            pace.take(now, tokens)
            times.append(now)


def most_in_a_minute(times: list[float], length_s: float = 60.0) -> int:
    return max(sum(first <= time < first + length_s for time in times) for first in times)


def test_a_limit_is_spread_evenly_and_used_to_two_percent() -> None:
    times = take_all(Pace(RateLimits(60)), START, START + 600)
    assert most_in_a_minute(times) <= 60
    assert 0.98 * 600 <= len(times) <= 600
    gaps = [after - before for before, after in pairwise(times[5:])]
    assert min(gaps) >= SPREAD_S / 60 - SLOT_S - 1e-9
    assert max(gaps) <= SPREAD_S / 60 + SLOT_S + 1e-9


def test_half_a_second_of_jitter_on_the_way_does_not_pass_the_limit() -> None:
    times = take_all(Pace(RateLimits(600)), START, START + 200)
    assert most_in_a_minute(times, 60.5) <= 600


def test_after_a_pause_no_more_than_a_slot_is_made_up_for() -> None:
    pace = Pace(RateLimits(600))
    taken(pace, START)
    burst = [time for time in take_all(pace, START + 30, START + 31) if time == START + 30]
    assert len(burst) == 1 + int(SLOT_S / (SPREAD_S / 600))


def test_small_limits_are_kept_too() -> None:
    times = take_all(Pace(RateLimits(1)), START, START + 700)
    assert len(times) == 12  # 60.75 s apart
    assert most_in_a_minute(times) == 1


def test_tokens_are_limited_like_requests() -> None:
    times = take_all(Pace(RateLimits(tokens=6000)), START, START + 600, tokens=100)
    assert most_in_a_minute(times) <= 60
    assert len(times) >= 0.98 * 600


def test_the_stricter_limit_counts() -> None:
    by_requests = take_all(Pace(RateLimits(30, 6000)), START, START + 300, tokens=100)
    by_tokens = take_all(Pace(RateLimits(600, 3000)), START, START + 300, tokens=100)
    assert len(by_requests) == len(by_tokens) == len(take_all(Pace(RateLimits(30)), START, START + 300))


def test_tokens_that_were_not_used_are_there_again() -> None:
    pace = Pace(RateLimits(tokens=1000))
    reservation = taken(pace, START, 1000)
    assert pace.wait_s(START + 1, 500) > 58
    pace.settle(START + 1, reservation, 100)
    assert pace.used_tokens == 100
    assert pace.wait_s(START + 1 + 0.1 * SPREAD_S, 500) == 0


def test_tokens_beyond_the_reservation_are_counted() -> None:
    pace = Pace(RateLimits(tokens=1000))
    pace.settle(START + 1, taken(pace, START, 100), 900)
    assert pace.used_tokens == 900
    assert pace.wait_s(START + 1, 200) > 58


def test_an_api_that_counts_what_was_asked_gets_nothing_back() -> None:
    pace = Pace(RateLimits(tokens=1000, counts_asked=True))
    pace.settle(START + 1, taken(pace, START, 1000), 100)
    assert pace.used_tokens == 1000


def test_what_was_never_sent_does_not_count() -> None:
    pace = Pace(RateLimits(1, 1000))
    pace.release(START, taken(pace, START, 1000))
    assert pace.used_requests == pace.used_tokens == 0
    taken(pace, START, 1000)


def test_a_request_counts_for_a_minute_and_a_bit() -> None:
    pace = Pace(RateLimits(tokens=1000))
    taken(pace, START, 10)
    last = START + WINDOW_SLOTS * SLOT_S
    pace.wait_s(last - 0.001, 0)
    assert pace.used_tokens == 10
    pace.wait_s(last, 0)
    assert pace.used_tokens == 0


def test_a_correction_after_that_changes_nothing_in_the_window() -> None:
    pace = Pace(RateLimits(tokens=1000))
    reservation = taken(pace, START, 1000)
    taken(pace, START + 70, 500)
    pace.settle(START + 71, reservation, 1)
    assert pace.used_tokens == 500


def test_a_refusal_cuts_the_pace_and_it_comes_back() -> None:
    pace = Pace(RateLimits(1000))
    pace.throttled(START, taken(pace, START), 0.0)
    assert [pace._limits(START + after_s)[0] for after_s in (0, 60, 3600)] == [700, pytest.approx(800, abs=1), 1000]


def test_a_swarm_of_refusals_counts_once() -> None:
    pace = Pace(RateLimits(1000))
    swarm = [taken(pace, START + i) for i in range(5)]
    for i, reservation in enumerate(swarm):
        pace.throttled(START + 5 + i, reservation, None)
    assert pace._limits(START + 5)[0] == 700
    assert pace.paused_until == START + 5 + rules.FIRST_PAUSE_S


def test_refusals_in_a_row_pause_longer_until_an_answer() -> None:
    pace = Pace(RateLimits(1000))
    now, pauses = START, []
    for _ in range(8):
        pace.throttled(now, taken(pace, now), None)
        pauses.append(pace.paused_until - now)
        now = pace.paused_until + 1
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    pace.settle(now, taken(pace, now), 0)
    pace.throttled(now + 1, taken(pace, now + 1), None)
    assert pace.paused_until - (now + 1) == rules.FIRST_PAUSE_S


def test_an_answer_to_what_was_sent_before_the_pause_does_not_shorten_the_next() -> None:
    pace = Pace(RateLimits(1000))
    slow, refused = taken(pace, START), taken(pace, START + 1)
    pace.throttled(START + 2, refused, None)
    pace.settle(START + 3, slow, 0)
    assert pace.pause_s == 2 * rules.FIRST_PAUSE_S


def test_all_wait_for_as_long_as_the_api_asks() -> None:
    pace = Pace(RateLimits(1000))
    pace.throttled(START, taken(pace, START), 30.0)
    assert pace.wait_s(START + 1, 0) == 29
    assert pace.wait_s(START + 30, 0) == 0


def test_there_is_a_least_pace() -> None:
    pace = Pace(RateLimits(6400))
    for i in range(100):
        pace.throttled(START + 10 * i, Reservation(START + 10 * i, 0, 0), 0.0)
    requests, _ = pace._limits(START + 990)
    assert requests is not None
    assert requests >= 6400 / 26


def test_after_a_cut_a_large_request_goes_when_it_is_alone() -> None:
    pace = Pace(RateLimits(tokens=1000))
    pace.throttled(START, taken(pace, START, 10), 0.0)
    assert pace.wait_s(START + SPREAD_S, 1000) == 0


def test_an_api_without_limits_is_not_slowed_down_before_it_refuses() -> None:
    """Then the rate of that time is learned: 1000 in two seconds; a guess, that may be exceeded."""
    pace = Pace(RateLimits())
    reservations = [taken(pace, START, 10**6) for _ in range(1000)]
    pace.throttled(START + 2, reservations[-1], 0.0)
    assert pace._limits(START + 2) == (21_000, None)
    later, _ = pace._limits(START + 2 + 600)
    assert later == pytest.approx(51_000, abs=1)


@pytest.mark.parametrize(("after_s", "learned"), [(0.01, 60), (30.0, 2), (500.0, 1)])
def test_what_is_learned_of_a_moment_or_of_long_ago(after_s: float, learned: int) -> None:
    pace = Pace(RateLimits())
    pace.throttled(START + after_s, taken(pace, START), 0.0)
    assert pace.learned_requests == learned


def test_what_the_api_says_counts_where_it_is_less() -> None:
    pace = Pace(RateLimits(600, 1000))
    pace.heard(START, HeardLimits(requests=100, tokens=5000))
    assert pace._limits(START) == (100, 1000)
    pace.heard(START, HeardLimits(requests=900))
    assert pace._limits(START) == (600, 1000)


def test_what_the_api_says_replaces_a_guess() -> None:
    pace = Pace(RateLimits())
    pace.throttled(START, taken(pace, START), 0.0)
    pace.heard(START, HeardLimits(tokens=5000))
    assert pace._limits(START) == (None, 3500)


def test_a_limit_that_is_used_up_pauses_all() -> None:
    pace = Pace(RateLimits())
    pace.heard(START, HeardLimits(pause_s=5.0))
    assert pace.wait_s(START, 0) == 5.0


def test_the_memory_is_the_same_for_any_rate() -> None:
    pace = Pace(RateLimits(10**6))
    for i in range(100_000):
        pace.take(START + i / 100, 1)
    pace.wait_s(START + 1000, 1)
    assert len(pace.slots) <= WINDOW_SLOTS
    assert math.isfinite(pace.next_request_at)
