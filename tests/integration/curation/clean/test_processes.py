"""Cleaning in processes: the same bytes with one, two and three, and what a kill leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from curation.clean import pipeline
from curation.clean.chunks import chunks_of
from curation.clean.pipeline import Progress, clean
from curation.clean.settings import CleanSettings
from platolm.errors import PlatoLMError
from tests.unit.curation.clean.records import mixed, write_json

ENGLISH = CleanSettings(languages=("en",))
COMMAND = "import typer; from curation.clean.cli import clean; typer.run(clean)"
SMALL_CHUNKS = "from functools import partial; from curation.clean import pipeline; " \
    "pipeline.chunks_of = partial(pipeline.chunks_of, chunk_bytes=20_000); "  # fmt: skip
HEARS_CTRL_C = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
"""What a shell starts in the background ignores it."""
DEADLINE_S = 60


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Some hundred kilobytes, many small chunks."""
    return write_json(tmp_path_factory.mktemp("source") / "in.json", mixed(60))


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "chunks_of", lambda entries: chunks_of(entries, chunk_bytes=20_000))


def cleaned(source: Path, folder: Path, num_processes: int) -> tuple[bytes, bytes]:
    out, report = folder / "out.jsonl", folder / "report.json"
    clean([source], out, report, ENGLISH, num_processes=num_processes)
    assert sorted(path.name for path in folder.iterdir()) == ["out.jsonl", "report.json"]
    return out.read_bytes(), report.read_bytes()


def until(reached: Callable[[], bool], process: subprocess.Popen[bytes]) -> None:
    """Wait for something that has to come before the process ends."""
    deadline = time.monotonic() + DEADLINE_S
    while not reached():
        assert process.poll() is None, "it ended before"
        assert time.monotonic() < deadline
        time.sleep(0.005)


@pytest.mark.usefixtures("small_chunks")
def test_one_two_and_three_processes_give_the_same_bytes(source: Path, tmp_path: Path) -> None:
    outputs = [cleaned(source, tmp_path, num_processes) for num_processes in (1, 2, 3)]
    assert outputs[0][0].count(b"\n") == 180
    assert outputs == [outputs[0]] * 3


@pytest.mark.usefixtures("small_chunks")
def test_progress_is_told_while_processes_work(source: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    clean([source], tmp_path / "o", tmp_path / "r", ENGLISH, num_processes=2, on_progress=seen.append)
    cleaning = [progress.num_done for progress in seen if progress.doing == "cleaning"]
    writing = [progress.num_done for progress in seen if progress.doing == "writing"]
    assert (len(cleaning) > 5, cleaning[-1]) == (True, 480)
    assert cleaning == sorted(cleaning)
    assert writing == list(range(1, len(cleaning) + 1))


def test_a_process_that_dies_ends_the_work_and_leaves_nothing(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill_one(progress: Progress) -> None:
        victim = psutil.Process().children()[-1]
        victim.kill()

    monkeypatch.setattr(pipeline, "chunks_of", lambda entries: chunks_of(entries, chunk_bytes=2_000))
    with pytest.raises(PlatoLMError, match="a process that cleaned died"):
        clean([source], tmp_path / "o", tmp_path / "r", ENGLISH, num_processes=2, on_progress=kill_one)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_killed_in_the_middle_it_leaves_no_out_and_its_processes_end(
    number: signal.Signals, source: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    arguments = [sys.executable, "-c", SMALL_CHUNKS + COMMAND, str(source), "--out", str(out), "--languages", "en"]
    folder = tmp_path / ".out.jsonl.cleaning"
    with subprocess.Popen([*arguments, "--processes", "2"], stderr=subprocess.DEVNULL) as process:
        until(lambda: len(list(folder.glob("*.pickle"))) >= 2, process)
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(number)
        process.wait(DEADLINE_S)
    assert len(children) >= 2
    assert psutil.wait_procs(children, timeout=DEADLINE_S)[1] == []
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]

    expected = tmp_path / "expected"
    expected.mkdir()
    out_bytes, _ = cleaned(source, expected, 1)
    subprocess.run(arguments, check=True, stderr=subprocess.DEVNULL)
    assert out.read_bytes() == out_bytes
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "out.jsonl", "out.report.json"]


def test_ctrl_c_ends_it_with_a_line_and_leaves_nothing(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    code = HEARS_CTRL_C + SMALL_CHUNKS + COMMAND
    arguments = [sys.executable, "-c", code, str(source), "--out", str(out), "--processes", "2"]
    with subprocess.Popen(arguments, stderr=subprocess.PIPE, start_new_session=True) as process:
        until(lambda: bool(list((tmp_path / ".out.jsonl.cleaning").glob("*.pickle"))), process)
        os.killpg(process.pid, signal.SIGINT)
        _, said = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 130
    assert said.decode().strip() == f"stopped: {out} was not written; the same command begins anew"
    assert list(tmp_path.iterdir()) == []


def test_a_second_cleaning_into_the_same_file_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    arguments = [sys.executable, "-m", "tests.unit.curation.installed", "clean", str(source), "--out", str(out)]
    with subprocess.Popen([sys.executable, "-c", SMALL_CHUNKS + COMMAND, *arguments[4:]]) as first:
        until((tmp_path / ".out.jsonl.cleaning" / "signatures").exists, first)
        first.send_signal(signal.SIGSTOP)
        second = subprocess.run(arguments, capture_output=True, text=True)
        first.send_signal(signal.SIGCONT)
        assert first.wait(DEADLINE_S) == 0
    assert second.returncode == 2
    assert second.stderr.startswith("error: another cleaning works in ")
    assert second.stderr.count("\n") == 1


def test_a_disk_that_is_full_is_one_line(source: Path, tmp_path: Path) -> None:
    """The limit of a file's size stands for the disk's end: writing fails in the middle of a chunk."""
    command = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); " \
        "resource.setrlimit(resource.RLIMIT_FSIZE, (9_000, 9_000)); " \
        "from tests.unit.curation.installed import main; main()"  # fmt: skip
    arguments = ["clean", str(source), "--out", str(tmp_path / "out.jsonl")]
    done = subprocess.run([sys.executable, "-c", command, *arguments], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().endswith("cannot be written: File too large")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
