"""What saturation makes of its measurements."""

from __future__ import annotations

import pytest

from benchmarks.counters import Counters
from benchmarks.full_stack import Shape
from benchmarks.load_generator import Generated, Load, hit_share, load_like
from benchmarks.pairs import Figures, covered
from benchmarks.saturation import Pair, summary
from platolm.conversation import ASSISTANT, USER
from tests.unit.benchmarks.records import record, turn


def pair(run_seconds: float, replay_seconds: float) -> Pair:
    counters = Counters(prompt_tokens=500, generated_tokens=1000, preemptions=1)
    return Pair(Figures(counters, run_seconds), Figures(counters, replay_seconds), run_seconds + 1, 0.99)


def test_a_pairs_ratio_is_of_speeds() -> None:
    assert pair(10.0, 8.0).ratio == pytest.approx(0.8)


def test_the_summary_has_medians_and_extremes() -> None:
    details = summary([pair(10, 8), pair(20, 10), pair(10, 10)], Generated(3000, 2.0))
    assert details["run, tokens/s"] == 100
    assert details["bare client, tokens/s"] == 100
    assert details["lowest ratio"] == pytest.approx(0.5)
    assert details["highest ratio"] == pytest.approx(1.0)
    assert details["preemptions"] == 3
    assert details["vLLM's load generator, tokens/s"] == 1500
    assert "vLLM's load generator, tokens/s" not in summary([pair(10, 8)], None)


def test_a_load_has_the_runs_mean_lengths() -> None:
    turns = [
        turn(USER, 100, [1] * 9),
        turn(ASSISTANT, 110, [1] * 30),
        turn(USER, 200, [1] * 20, "length"),
        turn(ASSISTANT, 230, [1] * 49),
    ]
    records = [record(0, turns, ["a", "b", "c", "d"])]
    assert load_like(records, USER, 0.2) == Load(2, shared_tokens=30, prompt_tokens=120, output_tokens=15)
    assert load_like(records, ASSISTANT, 0.0) == Load(2, shared_tokens=0, prompt_tokens=170, output_tokens=40)


def test_shares_of_counters() -> None:
    assert hit_share(Counters(cache_queries=400, cache_hits=100)) == 0.25
    assert hit_share(Counters()) == 0.0
    records = [record(0, [turn(USER, 30, [1]), turn(ASSISTANT, 60, [1])], ["a", "b"])]
    assert covered(records, Counters(prompt_tokens=100)) == pytest.approx(0.9)


def test_nothing_but_the_number_of_turns_ends_a_measured_conversation() -> None:
    spec = Shape(conversations=3, max_turns=6, max_tokens=128, context_tokens=1024).spec()
    endings = spec.endings
    assert (endings.user_ended, endings.repetition, endings.empty, endings.max_turns) == (False, False, False, 6)
    assert (spec.simulator.sampling.max_tokens, spec.respondent.sampling.max_tokens) == (128, 128)
