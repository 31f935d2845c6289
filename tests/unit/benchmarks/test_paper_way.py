"""What the comparison with the paper's way makes of its measurements."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from benchmarks.counters import Counters
from benchmarks.engines import Device
from benchmarks.pairs import Figures
from benchmarks.paper_way import Way, best_of, line_of, summary, ways
from platolm.errors import StackError


@pytest.mark.parametrize(
    ("cores", "device", "expected"),
    [
        ({0, 1}, Device.CPU, [Way(1, 2), Way(2, 1)]),
        ({5}, Device.CPU, [Way(1, 1)]),
        ({0, 1, 2, 3}, Device.CUDA, [Way(1, 1)]),
    ],
)
def test_every_form_uses_all_cores(
    cores: set[int], device: Device, expected: list[Way], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: cores)
    assert ways(device) == expected


def test_forms_have_names() -> None:
    names = [str(way) for way in (Way(1, 1), Way(1, 2), Way(2, 1))]
    assert names == ["one process, 1 thread", "one process, 2 threads", "2 processes, 1 thread each"]


def test_the_faster_form_counts() -> None:
    blocking = {Way(1, 2): 90.0, Way(2, 1): 200.0}
    run, client = Figures(Counters(generated_tokens=5000), 5.0), Figures(Counters(generated_tokens=5000), 4.0)
    assert best_of(blocking) == 200
    details = summary(blocking, run, client)
    assert details["run, tokens/s"] == 1000
    assert details["engines alone against the paper's way"] == 6.25
    assert details["one process, 2 threads, tokens/s"] == 90


def test_a_process_that_ends_without_an_answer_is_an_error() -> None:
    argv = [sys.executable, "-c", "print('loading'); raise SystemExit(3)"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert line_of(process) == "loading"
        with pytest.raises(StackError, match="code 3"):
            line_of(process)
