"""Which files the data is in, and their records in chunks: the unit of work of a process."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platolm.dataset import MANIFEST_FOLDER, SHAREGPT_FILE, read_manifest, segment_path
from platolm.errors import InputError
from platolm.jsonlines import read_json_records
from platolm.segments import PARQUET_SUFFIX, read_segment

_ENDINGS = tuple(f".{form}{packing}" for form in ("json", "jsonl") for packing in ("", ".gz", ".zst"))
_PACKED = (".gz", ".zst")
_PACKED_RATIO = 3  # text to compressed text, as gzip and zstd do with dialogues
_CHUNK_TEXT = 8 << 20
_MAX_CHUNKS = 256  # each is a file of rows, and all of them are mapped at once
_RECORD_OVERHEAD = 64  # of text size: keeps chunks bounded where records hold no text


@dataclass(frozen=True, slots=True)
class Entry:
    """One record, or the `BadLine` in its place, and where it stands; `line` counts from 1."""

    file: str
    line: int
    record: Any


@dataclass(frozen=True)
class Chunk:
    """Consecutive entries; `size_bytes` is about what they take in their files."""

    number: int
    entries: Sequence[Entry]
    size_bytes: int


def files_of(paths: Iterable[str]) -> list[Path]:
    """The data files in order, a folder's by name; a file that is named twice comes once.

    A run's dataset folder gives its committed segments (they hold the ids as generated), or its `sharegpt.jsonl`.

    Raises:
        InputError: no path, a missing one, or a folder without data.
        OutputError: a run's manifest is damaged.
    """
    files = {file.resolve(): file for path in paths for file in _files_at(Path(path))}
    if not files:
        raise InputError("there is no data: name files or folders of dialogues, with --data or as data.paths")
    return list(files.values())


def text_size(files: Iterable[Path]) -> int:
    """About how many bytes of text the files hold."""
    return sum(file.stat().st_size * _ratio(file) for file in files)


def chunks_of(files: Sequence[Path], chunk_text: int | None = None) -> Iterator[Chunk]:
    """The records of all files in order, in chunks of about `chunk_text` characters.

    Where a chunk ends depends on the data alone, never on the number of processes.

    Raises:
        InputError: a file cannot be read.
    """
    target = chunk_text or max(_CHUNK_TEXT, text_size(files) // _MAX_CHUNKS)
    entries: list[Entry] = []
    number = text = size = 0
    for file in files:
        left = file.stat().st_size
        for line, record in _records_of(file):
            entries.append(Entry(str(file), line, record))
            new_text = _text_of(record) + _RECORD_OVERHEAD
            on_disk = min(left, new_text // _ratio(file))
            left, size, text = left - on_disk, size + on_disk, text + new_text
            if text >= target:
                yield Chunk(number, entries, size)
                entries, number, text, size = [], number + 1, 0, 0
        size += left
    if entries:
        yield Chunk(number, entries, size)


def _files_at(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise InputError(f"{path}: no such file or folder of dialogues")
    if (path / MANIFEST_FOLDER).is_dir() and (entries := read_manifest(path)):
        return [_existing(segment_path(path, entry.segment)) for entry in entries]
    if (path / SHAREGPT_FILE).is_file():
        return [path / SHAREGPT_FILE]
    found = sorted(file for file in path.iterdir() if file.name.endswith(_ENDINGS) and not file.name.startswith("."))
    if not found:
        raise InputError(f"{path} holds no dialogues: no file ends in {', '.join(_ENDINGS)}")
    return found


def _existing(segment: Path) -> Path:
    if not segment.is_file():
        raise InputError(f"{segment} is missing, but the manifest beside it names it: fetch the run again")
    return segment


def _records_of(file: Path) -> Iterator[tuple[int, Any]]:
    if file.suffix == PARQUET_SUFFIX:
        return enumerate(read_segment(file), start=1)
    return read_json_records(file)


def _ratio(file: Path) -> int:
    return _PACKED_RATIO if file.suffix in _PACKED else 1


def _text_of(value: object) -> int:
    """Characters of all text in a record; lists of numbers (token ids) are passed over."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(_text_of(inner) for inner in value.values())
    if isinstance(value, list) and not (value and isinstance(value[0], int)):
        return sum(_text_of(inner) for inner in value)
    return 0
