"""Crash points end an armed process where they are told to, and nothing else."""

from __future__ import annotations

import ast
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import services.orchestrator
from services.orchestrator.crash_points import CRASH_POINTS, arm, crash_point

PASSES_TWICE = """
import sys
from services.orchestrator.crash_points import arm, crash_point
arm(sys.argv[1])
for passing in (1, 2):
    crash_point("worker.after_append")
    print(passing, flush=True)
"""


def passed(crash_at: str) -> tuple[int, str]:
    """Exit status and output of a process that passes `worker.after_append` twice."""
    argv = [sys.executable, "-c", PASSES_TWICE, crash_at]
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    yield
    arm(None)


def test_an_armed_process_kills_itself_at_the_passing_that_was_named() -> None:
    assert passed("worker.after_append:1") == (-signal.SIGKILL, "")
    assert passed("worker.after_append:2") == (-signal.SIGKILL, "1\n")


def test_it_passes_what_was_not_named() -> None:
    assert passed("worker.after_append:3") == (0, "1\n2\n")
    assert passed("worker.before_append:1") == (0, "1\n2\n")
    assert passed("") == (0, "1\n2\n")


def test_an_unarmed_process_passes_every_point() -> None:
    arm(None)
    for name in CRASH_POINTS:
        crash_point(name)


@pytest.mark.parametrize("crash_at", ["worker.nowhere:1", "nonsense", ":1"])
def test_unknown_names_are_refused_with_those_that_exist(crash_at: str) -> None:
    with pytest.raises(ValueError, match=r"no crash point .*worker\.before_append"):
        arm(crash_at)


@pytest.mark.parametrize("crash_at", [f"worker.after_append{n}" for n in ("", ":", ":0", ":-1", ":x", ":1:2", ":²")])
def test_a_passing_that_is_no_number_is_refused(crash_at: str) -> None:
    with pytest.raises(ValueError, match="NAME:N"):
        arm(crash_at)


def test_every_listed_point_stands_in_the_code_and_no_other() -> None:
    folder = Path(services.orchestrator.__file__).parent
    names = {
        arg.value if isinstance(arg := node.args[0], ast.Constant) else "a computed name"
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "crash_point"
    }
    assert names == set(CRASH_POINTS)
