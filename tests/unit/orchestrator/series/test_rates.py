"""What two reports of a worker tell of its speed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.queue.reports import SideTotals
from services.orchestrator.series.rates import RateMeter, Rates, increase
from tests.unit.orchestrator.series.reported import stamped

EARLY = SideTotals(10, 1000, 5000, 300, 400)
LATER = SideTotals(14, 1100, 5600, 390, 500)
NOTHING = Rates()
IDLE = Rates(0.0, 0.0, None)


@pytest.mark.parametrize(
    ("before", "now", "counted"),
    [
        (EARLY, LATER, SideTotals(4, 100, 600, 90, 100)),
        (EARLY, EARLY, SideTotals()),
        (SideTotals(), EARLY, EARLY),
        # A count that fell back: the worker began anew, so all its counts are since then, also one that is above.
        (LATER, SideTotals(1, 30, 200, 0, 0), SideTotals(1, 30, 200, 0, 0)),
        (LATER, SideTotals(3, 1200, 5700, 400, 600), SideTotals(3, 1200, 5700, 400, 600)),
        (LATER, SideTotals(15, 1200, 5700, 389, 600), SideTotals(15, 1200, 5700, 389, 600)),
    ],
)
def test_what_was_counted_between(before: SideTotals, now: SideTotals, counted: SideTotals) -> None:
    assert increase(before, now) == counted


@given(*[st.builds(SideTotals, *[st.integers(0, 9)] * 5)] * 2)
def test_nothing_is_ever_counted_below_zero_or_above_what_is_there(before: SideTotals, now: SideTotals) -> None:
    found = increase(before, now)
    for name in SideTotals.__slots__:
        assert 0 <= getattr(found, name) <= getattr(now, name)


def test_rates_are_over_the_time_between_two_reports() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0, simulator=EARLY)})
    assert (meter.rates("simulator"), meter.rates("respondent")) == (NOTHING, NOTHING)
    meter.note({"w1": stamped(102.5, simulator=LATER)})
    assert meter.rates("simulator") == Rates(tokens_per_s=40.0, utterances_per_s=1.6, prefix_hit_ratio=0.9)
    assert meter.rates("respondent") == IDLE


def test_workers_add_up_each_over_its_own_time() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0), "w2": stamped(101.0)})
    w1 = SideTotals(2, 60, 100, 10, 40)
    w2 = SideTotals(4, 40, 100, 50, 60)
    meter.note({"w1": stamped(102.0, respondent=w1), "w2": stamped(105.0, respondent=w2)})
    assert meter.rates("respondent") == Rates(tokens_per_s=40.0, utterances_per_s=2.0, prefix_hit_ratio=0.6)


def test_between_two_reports_the_last_interval_stands() -> None:
    meter = RateMeter()
    for at, totals in ((100.0, EARLY), (102.0, LATER), (102.0, LATER)):
        meter.note({"w1": stamped(at, simulator=totals)})
    assert meter.rates("simulator").tokens_per_s == 50.0
    meter.note({"w1": stamped(104.0, simulator=LATER)})
    assert meter.rates("simulator") == IDLE


def test_a_restarted_worker_is_counted_from_its_start() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0, simulator=LATER)})
    meter.note({"w1": stamped(102.0, simulator=SideTotals(1, 30, 200, 0, 0))})
    assert meter.rates("simulator") == Rates(tokens_per_s=15.0, utterances_per_s=0.5, prefix_hit_ratio=None)


def test_a_worker_that_is_new_tells_nothing_and_hides_nobody() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0)})
    meter.note({"w1": stamped(102.0, simulator=SideTotals(2, 20)), "w2": stamped(102.0, simulator=LATER)})
    assert meter.rates("simulator").tokens_per_s == 10.0


def test_a_worker_that_left_is_forgotten() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0)})
    meter.note({"w1": stamped(102.0, simulator=EARLY)})
    meter.note({})
    assert meter.rates("simulator") == NOTHING
    meter.note({"w1": stamped(110.0, simulator=LATER)})
    assert meter.rates("simulator") == NOTHING


def test_an_older_report_begins_anew() -> None:
    """Redis came back a moment older: neither a time below zero nor the same tokens once more."""
    meter = RateMeter()
    meter.note({"w1": stamped(100.0)})
    meter.note({"w1": stamped(102.0, simulator=LATER)})
    meter.note({"w1": stamped(101.0, simulator=EARLY)})
    assert meter.rates("simulator") == NOTHING
    meter.note({"w1": stamped(103.0, simulator=LATER)})
    assert meter.rates("simulator").tokens_per_s == 50.0


def test_a_side_that_a_report_lacks_counts_nothing() -> None:
    meter = RateMeter()
    meter.note({"w1": stamped(100.0)})
    meter.note({"w1": stamped(102.0)})
    assert meter.rates("referee") == IDLE
