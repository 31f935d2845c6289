from __future__ import annotations

import os
import subprocess
import sys

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
    program = "import time\nwhile time.process_time() < 0.3: pass\nprint(time.process_time(), flush=True)\ninput()"
    busy = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert busy.stdout is not None
    used_s = float(busy.stdout.readline())

    assert cpu_seconds(busy.pid) == pytest.approx(used_s, abs=0.05)

    busy.communicate("\n")


def test_peak_rss_outlives_the_memory_that_made_it() -> None:
    resident_mib = psutil.Process().memory_info().rss / MIB
    block = b"x" * (64 * MIB)
    del block

    assert peak_rss_mib(os.getpid()) >= resident_mib + 63


def test_questions_differ() -> None:
    asked = [seed["question"] for seed in questions(1000)]

    assert len(set(asked)) == 1000
