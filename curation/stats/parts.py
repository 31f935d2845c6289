"""A dataset in parts, whose borders depend on the data alone; whoever counts a part parses it.

Plain JSON lines are cut by bytes: such a part is no more than a place in a file. Packed or recoded lines are unpacked
here and parsed there. What has to be read in order (JSON lists, Parquet) goes over as records.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import orjson

from curation.dialogue import Dialogue
from curation.reading import Entry, Unreadable, dialogues_of, entries_of, files_of, record_of
from curation.reading.json_lines import LARGEST_LINE
from curation.reading.opening import begins_a_list, begins_an_indented_object, is_parquet, opened
from platolm.dataset import SEGMENTS_FOLDER
from platolm.errors import BadLine, InputError

PART_BYTES = 4_000_000
PART_RECORDS = 500
"""Of records that were read in order."""

Read = Dialogue | Unreadable


class Part(Protocol):
    """Some of a dataset's records. `num_bytes` is how much of its files comes with it, to tell how far one is."""

    @property
    def num_bytes(self) -> int: ...

    def read(self) -> Iterator[Read]:
        """The dialogues, in order; raises InputError where its file cannot be read."""


@dataclass(frozen=True)
class FileLines:
    """Whole lines of a plain file: `num_bytes` of it from `begin`; `first` is the number of the first line, from 1."""

    path: Path
    begin: int
    num_bytes: int
    first: int
    form: str | None = None

    def read(self) -> Iterator[Read]:
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                content = file.read(self.num_bytes)
        except OSError as error:
            raise InputError(f"{self.path} cannot be read: {error}") from error
        yield from _of_lines(content, self.path, self.first, self.form)


@dataclass(frozen=True)
class UnpackedLines:
    """Whole lines of a packed file, unpacked."""

    path: Path
    content: bytes
    first: int
    form: str | None = None
    num_bytes: int = 0

    def read(self) -> Iterator[Read]:
        yield from _of_lines(self.content, self.path, self.first, self.form)


@dataclass(frozen=True)
class Segment:
    """A committed segment of a run's dataset."""

    path: Path
    num_bytes: int
    form: str | None = None

    def read(self) -> Iterator[Read]:
        for entry in entries_of([self.path]):
            yield from dialogues_of(entry.record, entry.origin, form=self.form)


@dataclass(frozen=True)
class Records:
    """Records that had to be read in order, each pickled."""

    entries: tuple[bytes, ...] = ()
    form: str | None = None
    num_bytes: int = 0

    def read(self) -> Iterator[Read]:
        for packed in self.entries:
            entry = pickle.loads(packed)
            yield from dialogues_of(entry.record, entry.origin, form=self.form)


def parts_of(files: Sequence[Path], form: str | None = None) -> Iterator[Part]:
    """The parts of files in order; `form` as in `curation.reading`.

    Raises:
        InputError: a file is missing or damaged.
    """
    for file in files:
        if file.parent.name == SEGMENTS_FOLDER:
            yield Segment(file, _size(file), form)
        elif (plain := _plain_lines_begin(file)) is not None:
            yield from _line_parts(file, plain, form)
        else:
            yield from _other_parts(file, form)
            yield Records(num_bytes=_size(file))  # where one is in it, nobody can tell before


def files_and_size(paths: Sequence[Path]) -> tuple[list[Path], int]:
    """The files at these paths (files, folders, folders of runs), and their bytes together.

    Raises:
        InputError: a path is missing, or a folder has no data.
        OutputError: a run's manifest is damaged.
    """
    files = files_of(paths)
    return files, sum(map(_size, files))


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _plain_lines_begin(file: Path) -> int | None:
    """Where the first of a plain file's JSON lines begins, after a byte order mark; None where it is something else."""
    if is_parquet(file):
        return None
    with opened(file) as text:
        is_plain = isinstance(text.raw, io.FileIO)
        return text.tell() if is_plain and _is_lines(text) else None


def _is_lines(text: io.BufferedReader) -> bool:
    return not begins_a_list(text) and not begins_an_indented_object(text)


def _line_parts(file: Path, begin: int, form: str | None) -> Iterator[FileLines]:
    first = 1
    with opened(file) as text:
        for content in _whole_lines(text, file):
            yield FileLines(file, begin, len(content), first, form)
            begin, first = begin + len(content), first + content.count(b"\n")


def _other_parts(file: Path, form: str | None) -> Iterator[Part]:
    if not is_parquet(file):
        with opened(file) as text:
            if _is_lines(text):
                yield from _unpacked_parts(file, text, form)
                return
    packed: list[bytes] = []
    for entry in entries_of([file]):
        packed.append(_packed(entry))
        if len(packed) >= PART_RECORDS:
            yield Records(tuple(packed), form)
            packed = []
    yield Records(tuple(packed), form)


def _unpacked_parts(file: Path, text: io.BufferedReader, form: str | None) -> Iterator[UnpackedLines]:
    first = 1
    for content in _whole_lines(text, file):
        yield UnpackedLines(file, content, first, form)
        first += content.count(b"\n")


def _whole_lines(text: io.BufferedReader, file: Path) -> Iterator[bytes]:
    """The text in pieces of about `PART_BYTES` that end with a line."""
    rest = b""
    while content := text.read(PART_BYTES):
        whole, line_end, begun = content.rpartition(b"\n")
        if line_end:
            yield rest + whole + line_end
            rest = begun
        else:
            rest += content
        if len(rest) > LARGEST_LINE:
            raise InputError(f"{file} has a line longer than {LARGEST_LINE >> 20} MiB: it holds no JSON lines")
    if rest:
        yield rest


def _packed(entry: Entry) -> bytes:
    try:
        return pickle.dumps(entry, pickle.HIGHEST_PROTOCOL)
    except RecursionError:
        return pickle.dumps(Entry(entry.origin, BadLine(0, "nested too deeply")), pickle.HIGHEST_PROTOCOL)


def _of_lines(content: bytes, path: Path, first: int, form: str | None) -> Iterator[Read]:
    for number, line in enumerate(io.BytesIO(content), first):
        if not line.isspace():
            yield from dialogues_of(_parsed(line, number), f"{path}:{number}", form=form)


def _parsed(line: bytes, number: int) -> Any:
    """As `record_of` has it, sooner."""
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        return record_of(line, number)
