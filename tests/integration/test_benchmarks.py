"""A benchmark on the real processes, at a size that says nothing of speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.results import read_results


@pytest.mark.slow
def test_tail_measures_a_whole_run_and_appends_its_result(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.tail", "--conversations", "30", "--slots", "4"]

    done = subprocess.run(
        [*command, "--token-latency", "0.0003", "--json", str(path)], capture_output=True, text=True, timeout=110
    )

    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = read_results(path)
    assert (result.benchmark, result.floor, result.details["conversations"]) == ("tail", 0.05, 30)
    assert 0 < result.figure < 1
    assert f"{result.name}  " in done.stdout
