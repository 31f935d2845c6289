"""The benchmark of cleaning, at a size that says nothing of speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks.results import read_results
from tests.unit.curation.clean.records import prose, record, write_lines


def test_it_measures_time_memory_and_growth(tmp_path: Path) -> None:
    folder, path = tmp_path / "dialogues", tmp_path / "results.jsonl"
    folder.mkdir()
    write_lines(folder / "a.jsonl", (record(f"r{n}", prose(n, 60), prose(n + 100, 90)) for n in range(40)))
    command = [sys.executable, "-m", "benchmarks.clean", str(folder), "--conversations", "60", "--times", "2"]
    done = subprocess.run([*command, "--json", str(path)], capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr[-2000:]
    seconds, memory, growth = read_results(path)
    assert (seconds.name, seconds.floor, seconds.higher_is_better) == ("60 conversations cleaned", 180, False)
    assert seconds.figure > 0
    assert seconds.details["exact duplicates put in"] == seconds.details["dropped"]
    assert 20 < memory.figure < 3000
    assert growth.name == "time a conversation at 120 ÷ at 60"
    assert growth.figure < 1  # its start is a greater part of the smaller one
