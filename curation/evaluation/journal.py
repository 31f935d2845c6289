"""A file of JSON lines that only grows: a row is on the disk when `add` returns, and a killed process costs none."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from platolm.errors import BadLine, BadLinesError, OutputError
from platolm.jsonlines import read_json_records

Row = Mapping[str, Any]


class Journal:
    """The rows of a file, in its order, and its end to write at; make it with `open_journal`."""

    def __init__(self, path: Path, descriptor: int, rows: list[Row]) -> None:
        self.path = path
        self.rows = rows
        self._descriptor = descriptor

    def add(self, row: Row) -> None:
        """Write a row, durably.

        Raises:
            OutputError: the disk does not take it.
        """
        line = json.dumps(row, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        try:
            _write_all(self._descriptor, line)
            os.fsync(self._descriptor)
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror or error}") from error
        self.rows.append(row)


@contextmanager
def open_journal(path: Path) -> Iterator[Journal]:
    """The file at `path`, made where it is missing. A last line that a kill cut short is taken away.

    Raises:
        BadLinesError: a line in its midst is no JSON object.
        OutputError: it cannot be opened.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    except OSError as error:
        raise OutputError(f"{path} cannot be opened: {error.strerror or error}") from error
    try:
        _mend(path, descriptor)
        yield Journal(path, descriptor, read_rows(path))
    finally:
        os.close(descriptor)


def read_rows(path: Path) -> list[Row]:
    """The rows of a journal that nobody writes to.

    Raises:
        BadLinesError: a line is no JSON object.
    """
    rows: list[Row] = []
    bad: list[BadLine] = []
    for number, record in read_json_records(path):
        if isinstance(record, dict):
            rows.append(record)
        else:
            bad.append(record if isinstance(record, BadLine) else BadLine(number, "not a JSON object"))
    if bad:
        raise BadLinesError(f"{path} is damaged: repair or remove these lines", bad)
    return rows


def _mend(path: Path, descriptor: int) -> None:
    """Complete a last line that lacks only its end; cut off one that was not written whole."""
    content = path.read_bytes()
    tail = content.rpartition(b"\n")[2]
    if not tail:
        return
    try:
        json.loads(tail)
    except ValueError:
        os.ftruncate(descriptor, len(content) - len(tail))
    else:
        _write_all(descriptor, b"\n")


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]
