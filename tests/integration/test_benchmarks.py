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


@pytest.mark.slow
def test_dashboard_measures_what_viewers_cost_and_what_they_hear(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.dashboard", "--only", "viewers", "--seconds", "1"]

    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True, timeout=110)

    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = read_results(path)
    assert (result.benchmark, result.floor, result.higher_is_better) == ("dashboard", 0.2, False)
    assert 0 < result.figure < 1
    utterances_per_s, heard_per_s = (float(result.details[name]) for name in ("utterances/s", "heard by a viewer, 1/s"))
    assert heard_per_s == pytest.approx(utterances_per_s, rel=0.3)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_loop_gpu_runs_two_real_models_to_the_end_of_their_conversations(tmp_path: Path) -> None:
    """The demo pair without a GPU: that the command works, and nothing of speed."""
    path = tmp_path / "results.jsonl"
    command = [sys.executable, "-m", "benchmarks.loop_gpu", "--conversations", "6", "--in-flight", "6"]
    small = ["--context-tokens", "512", "--max-tokens", "48", "--max-turns", "8"]

    done = subprocess.run([*command, *small, "--json", str(path)], capture_output=True, text=True, timeout=380)

    assert done.returncode == 0, done.stderr[-2000:]
    (result,) = read_results(path)
    assert (result.benchmark, result.unit, result.details["conversations"]) == ("loop_gpu", "conversations/h", 6)
    assert result.name.endswith("no GPU")
    assert result.figure > 0
    assert 0 < float(result.details["share cached"]) < 1
    assert float(result.details["made, tokens/s"]) >= float(result.details["generated tokens/s"]) > 0
