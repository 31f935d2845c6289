from __future__ import annotations

import os
import time

import psutil
import pytest

from benchmarks.loaded_stack import MIB, Window, cpu_seconds, peak_rss_mib, questions


def test_a_window_gives_rates_and_cores() -> None:
    window = Window(
        seconds=4.0,
        utterances=600,
        generated_tokens=1,
        prompt_tokens=1,
        cpu_s={"worker": 3.0, "redis": 1.0, "api": 0.5},
    )

    assert window.utterances_per_s == 150
    assert window.cores("worker", "redis") == 1
    assert window.cores("api") == 0.125


def test_cpu_seconds_are_those_that_a_process_has_used() -> None:
    before, own_before = cpu_seconds(os.getpid()), time.process_time()
    while time.process_time() < own_before + 0.2:
        pass

    assert cpu_seconds(os.getpid()) - before == pytest.approx(0.2, abs=0.1)


def test_peak_rss_outlives_the_memory_that_made_it() -> None:
    resident_mib = psutil.Process().memory_info().rss / MIB
    block = b"x" * (64 * MIB)
    del block

    assert peak_rss_mib(os.getpid()) >= resident_mib + 63


def test_questions_differ() -> None:
    asked = [seed["question"] for seed in questions(1000)]

    assert len(set(asked)) == 1000
