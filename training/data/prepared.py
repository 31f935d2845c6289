"""`prepare`: a recipe's data as memory-mapped rows, made once and found again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from platolm.errors import InputError
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.data.cache import key_of, made_once
from training.data.reading import chunks_of, files_of, text_size
from training.data.report import DataReport, skip_line
from training.data.row_files import mapped_rows
from training.data.workers import Built, Job, build_here, build_in_processes
from training.recipes.recipe import Data, Side

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]

OnProgress = Callable[[int, int], None]
"""Takes the bytes of the data files that are done, about, and those of all of them."""

_WORTH_PROCESSES = 24 << 20  # bytes of text: below, starting processes takes as long as it saves


@dataclass(frozen=True)
class PreparedRows:
    """Rows mapped from `folder`, with `training.data.row_files.SCHEMA`'s columns; `held_out` may be empty."""

    train: Dataset
    held_out: Dataset
    report: DataReport
    folder: Path


def prepare(
    data: Data,
    side: Side,
    model_path: str | Path,
    cache: Path,
    *,
    on_progress: OnProgress = lambda done, total: None,
    num_processes: int | None = None,
) -> PreparedRows:
    """The rows that one side learns from the data; found in `cache` where they were made before.

    Several processes may ask for the same rows at once: one makes them, the others wait. Rows are the same whatever
    the number of processes.

    Args:
        model_path: folder or hub name; its tokenizer makes the ids.
        on_progress: called while rows are made, from this thread.
        num_processes: all cores unless given, and none besides this one for small data.

    Raises:
        InputError: no usable data, or no usable tokenizer.
        OutputError: the cache cannot be written.
        TrainingError: a process died.
    """
    files = files_of(data.paths)
    tokenizer = load_tokenizer(model_path)
    folder = cache / key_of(files, Path(tokenizer.name), data, side)

    def make(fresh: Path) -> DataReport:
        job = Job(data, side, tokenizer.name, fresh)
        return _built(job, files, tokenizer, _num_processes(files, num_processes), on_progress)

    report = made_once(folder, make).report
    return PreparedRows(mapped_rows(folder, "train"), mapped_rows(folder, "held_out"), report, folder)


def _built(
    job: Job, files: Sequence[Path], tokenizer: HubTokenizer, num_processes: int, on_progress: OnProgress
) -> DataReport:
    total = sum(file.stat().st_size for file in files)
    done, reports = 0, {}
    for chunk, report in _building(job, files, tokenizer, num_processes):
        reports[chunk.number] = report
        done += chunk.size_bytes
        on_progress(min(done, total), total)
    on_progress(total, total)
    return _checked(_added_up(reports))


def _building(job: Job, files: Sequence[Path], tokenizer: HubTokenizer, num_processes: int) -> Iterator[Built]:
    chunks = chunks_of(files)
    if num_processes == 1:
        return build_here(job, chunks, tokenizer)
    return build_in_processes(job, chunks, num_processes)


def _num_processes(files: Sequence[Path], wanted: int | None) -> int:
    if wanted is not None:
        return wanted
    return len(os.sched_getaffinity(0)) if text_size(files) >= _WORTH_PROCESSES else 1


def _added_up(reports: dict[int, DataReport]) -> DataReport:
    """In the order of the data, so that the examples are the same whoever was first."""
    whole = DataReport()
    for number in sorted(reports):
        whole.add(reports[number])
    return whole


def _checked(report: DataReport) -> DataReport:
    """Raises an InputError where there is nothing to train on."""
    if report.train.num_rows:
        return report
    if report.num_used:
        raise InputError(
            f"no row is left to train on ({report.num_used:,} usable conversations, of which "
            f"{report.held_out.num_conversations:,} held out): give more data, or lower data.held_out_share"
        )
    skipped = "; ".join(skip_line(reason, some) for reason, some in report.skipped.items())
    raise InputError(f"none of the {report.num_read:,} records can be learned from: {skipped or 'the files are empty'}")
