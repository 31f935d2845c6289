"""Chunks built by processes: the same rows as in this one, and no process that outlives its work."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Pipe
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import TokenizerError, TrainingError
from platolm.tokenizer import HubTokenizer
from tests.unit.training.data.records import record, write_lines
from training.data.reading import Chunk, Entry, chunks_of
from training.data.report import DataReport
from training.data.row_files import mapped_rows
from training.data.worker import serve
from training.data.workers import Built, Job, build_here, build_in_processes
from training.recipes.recipe import Data, Side

DATA = Data(max_length=512, join_share=0.5, arrangements=2, held_out_share=0.2)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    records: list[Any] = [record(f"Question {i}?", "So. " * (i % 60), "Why?", "中文 😀") for i in range(150)]
    records[70] = {"broken": True}
    return write_lines(tmp_path / "a.jsonl", records)


def job(folder: Path, tokenizer: Path, side: Side = Side.SOCRATIC) -> Job:
    folder.mkdir()
    return Job(DATA, side, str(tokenizer), folder)


def result(built: Iterator[Built], folder: Path) -> tuple[dict[int, DataReport], list[Any]]:
    reports = {chunk.number: report for chunk, report in built}
    return reports, [mapped_rows(folder, name)[:] for name in ("train", "held_out")]


@pytest.mark.parametrize("side", [Side.SOCRATIC, Side.BOTH])
def test_processes_write_what_one_would(
    tmp_path: Path, file: Path, byte_tokenizer_folder: Path, byte_tokenizer: HubTokenizer, side: Side
) -> None:
    here, there = (job(tmp_path / name, byte_tokenizer_folder, side) for name in ("here", "there"))
    expected = result(build_here(here, chunks_of([file], 3000), byte_tokenizer), here.folder)
    found = result(build_in_processes(there, chunks_of([file], 3000), 2), there.folder)
    assert found == expected
    assert len(expected[0]) > 4
    assert sum(report.num_skipped for report in expected[0].values()) == 1


def test_an_error_in_a_process_is_raised_here(tmp_path: Path, file: Path) -> None:
    with pytest.raises(TokenizerError, match=r"nowhere"):
        list(build_in_processes(job(tmp_path / "out", tmp_path / "nowhere"), chunks_of([file], 3000), 2))


def test_a_folder_that_cannot_be_written_is_an_error_here(
    tmp_path: Path, file: Path, byte_tokenizer_folder: Path
) -> None:
    lost = job(tmp_path / "out", byte_tokenizer_folder)
    lost.folder.rmdir()
    with pytest.raises(FileNotFoundError):
        list(build_in_processes(lost, chunks_of([file], 3000), 2))


class _Deadly:
    """Ends the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os._exit, (3,)


def test_the_death_of_a_process_is_named(tmp_path: Path, byte_tokenizer_folder: Path) -> None:
    chunks = [Chunk(0, [Entry("a.jsonl", 1, _Deadly())], 1)]
    with pytest.raises(TrainingError, match="a process that tokenised the data died"):
        list(build_in_processes(job(tmp_path / "out", byte_tokenizer_folder), chunks, 2))


def test_an_error_of_the_reader_ends_the_processes(tmp_path: Path, file: Path, byte_tokenizer_folder: Path) -> None:
    def broken() -> Iterator[Chunk]:
        yield from list(chunks_of([file], 3000))[:2]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(build_in_processes(job(tmp_path / "out", byte_tokenizer_folder), broken(), 2))


@pytest.mark.parametrize("when", ["before the job", "before a chunk"])
def test_a_worker_ends_when_the_other_side_is_gone(tmp_path: Path, byte_tokenizer_folder: Path, when: str) -> None:
    ours, its = Pipe()
    worker = threading.Thread(target=serve, args=(its,))
    worker.start()
    if when == "before a chunk":
        ours.send(job(tmp_path / "out", byte_tokenizer_folder))
    ours.close()
    worker.join()
    assert its.closed


def test_a_worker_that_failed_waits_until_its_error_is_read(tmp_path: Path) -> None:
    ours, its = Pipe()
    worker = threading.Thread(target=serve, args=(its,))
    worker.start()
    ours.send(job(tmp_path / "out", tmp_path / "nowhere"))
    ours.send(Chunk(0, [Entry("a.jsonl", 1, "more than a pipe holds" * 100_000)], 0))
    assert isinstance(ours.recv(), TokenizerError)
    ours.close()
    worker.join()
    assert its.closed


_KILLED = """
import sys
from pathlib import Path
from training.data.reading import chunks_of
from training.data.workers import Job, build_in_processes
from training.recipes.recipe import Data, Side

def chunks():
    yield from chunks_of([Path(sys.argv[1])], 3000)
    print("everything is read", flush=True)
    sys.stdin.read()

list(build_in_processes(Job(Data(), Side.SOCRATIC, sys.argv[2], Path(sys.argv[3])), chunks(), 2))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="finds a process's children in /proc")
def test_no_worker_outlives_a_killed_run(tmp_path: Path, file: Path, byte_tokenizer_folder: Path) -> None:
    arguments = [sys.executable, "-c", _KILLED, str(file), str(byte_tokenizer_folder), str(tmp_path)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "everything is read\n"
        workers = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text(encoding="utf-8").split()
        run.kill()
    assert len(workers) == 2
    while any(_is_alive(worker) for worker in workers):
        threading.Event().wait(0.01)


def _is_alive(process: str) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"
