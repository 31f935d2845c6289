"""Files, folders and datasets of runs as records in a fixed order, one at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curation.dialogue import Dialogue
from curation.reading.forms import Unreadable, dialogues_of
from curation.reading.json_lines import records_of
from curation.reading.json_list import elements_of, values_of
from curation.reading.opening import begins_a_list, begins_an_indented_object, is_parquet, opened
from platolm.dataset import MANIFEST_FOLDER, SHAREGPT_FILE, read_manifest, segment_path
from platolm.errors import InputError
from platolm.segments import PARQUET_SUFFIX

ENDINGS = (*(f".{form}{packing}" for form in ("json", "jsonl") for packing in ("", ".gz", ".zst")), PARQUET_SUFFIX)
"""Names of files that a folder is searched for."""

NO_DIALOGUES = frozenset({"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"})
"""Files that stand beside a dataset's data and describe it."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, or the `BadLine` in its place; `origin` is "file:line", lines and elements counted from 1."""

    origin: str
    record: Any


def read_dialogues(
    paths: Iterable[str | Path], *, form: str | None = None, num_records: int | None = None
) -> Iterator[Dialogue | Unreadable]:
    """Every dialogue of the files, in order; what cannot be read comes in its place, with the reason.

    `paths` are files (JSON lines, a JSON list, JSON objects one below the other, each in gzip or zstd too; Parquet),
    folders of such files, or datasets of runs. `form` forces a `curation.reading.Form`; `num_records` stops after so
    many records of the files.

    Raises:
        InputError: a path is missing, a folder has no data, or a file is damaged.
        OutputError: a run's manifest is damaged.
    """
    for number, entry in enumerate(entries_of(files_of(paths))):
        if number == num_records:
            return
        yield from dialogues_of(entry.record, entry.origin, form=form)


def files_of(paths: Iterable[str | Path]) -> list[Path]:
    """The files in order, a folder's by name with those of its folders; a file that is named twice comes once.

    The dataset of a run gives its committed segments (they hold the ids as generated), or its `sharegpt.jsonl`.

    Raises:
        InputError: no path, a missing one, or a folder without data.
        OutputError: a run's manifest is damaged.
    """
    files = {file.resolve(): file for path in paths for file in _files_at(Path(path))}
    if not files:
        raise InputError("there is no data: name files or folders of dialogues")
    return list(files.values())


def entries_of(files: Iterable[Path]) -> Iterator[Entry]:
    """The records of the files, one at a time.

    Raises:
        InputError: a file is missing or damaged.
    """
    for file in files:
        for number, record in _records_of(file):
            yield Entry(f"{file}:{number}", record)


def _files_at(path: Path) -> list[Path]:
    if not path.is_file() and not path.is_dir():
        raise InputError(f"{path}: no such file or folder of dialogues")
    found = _files_in(path)
    if not found:
        raise InputError(f"{path} holds no dialogues: no file in it ends in {', '.join(ENDINGS)}")
    return found


def _files_in(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    has_manifest = (path / MANIFEST_FOLDER).is_dir()
    if has_manifest and (entries := read_manifest(path)):
        return [segment_path(path, entry.segment) for entry in entries]
    if (path / SHAREGPT_FILE).is_file():
        return [path / SHAREGPT_FILE]
    if has_manifest:  # a run that has committed nothing: what lies in its segments does not count
        return []
    return [file for each in sorted(path.iterdir()) if _is_searched(each) for file in _files_in(each)]


def _is_searched(path: Path) -> bool:
    """A file by its name; a folder too, but for a link to one, which may lead round in a circle."""
    if path.name.startswith(".") or path.name in NO_DIALOGUES:
        return False
    return not path.is_symlink() if path.is_dir() else path.name.endswith(ENDINGS)


def _records_of(file: Path) -> Iterator[tuple[int, Any]]:
    if is_parquet(file):
        yield from enumerate(_rows(file), start=1)
        return
    with opened(file) as text:
        if begins_a_list(text):
            yield from _values(elements_of(text), f"{file} begins as a JSON list but is not one")
        elif begins_an_indented_object(text):
            yield from _values(values_of(text), f"{file} begins with an object on several lines but is damaged")
        else:
            yield from records_of(text)


def _rows(file: Path) -> Iterator[Any]:
    import pyarrow as pa  # type: ignore[import-untyped]  # heavy, and not needed by JSON

    from platolm.parquet import parquet_records

    try:
        with file.open("rb") as parquet:
            for row in parquet_records(parquet):
                yield orjson.loads(orjson.dumps(row, default=str))  # times and decimals as JSON has them
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(f"{file} is no readable Parquet file: {str(error).splitlines()[0]}") from error


def _values(values: Iterator[Any], otherwise: str) -> Iterator[tuple[int, Any]]:
    try:
        yield from enumerate(values, start=1)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{otherwise}: {error}") from error
