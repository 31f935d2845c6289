"""Rows into files, one at a time: a JSON list, JSON lines, or Parquet. Memory holds a row group at most."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import orjson

from curation.export.forms import Row
from platolm.runs_api import DatasetFormat

WriteRow = Callable[[Row], None]

_ROW_GROUP = 1024


def suffix_of(form: DatasetFormat, *, lines: bool) -> str:
    """ShareGPT is a JSON list, as FastChat reads it, unless it is to be lines; OpenAI's messages always are lines."""
    if form is DatasetFormat.PARQUET:
        return ".parquet"
    return ".jsonl" if lines or form is DatasetFormat.OPENAI else ".json"


def open_rows(path: Path) -> AbstractContextManager[WriteRow]:
    """A file to write rows to, in the form that its suffix names; it is whole when the context ends."""
    if path.suffix == ".parquet":
        return _parquet(path)
    return _list(path) if path.suffix == ".json" else _lines(path)


@contextmanager
def _lines(path: Path) -> Iterator[WriteRow]:
    with path.open("wb") as file:

        def write(row: Row) -> None:
            file.write(orjson.dumps(row) + b"\n")

        yield write


@contextmanager
def _list(path: Path) -> Iterator[WriteRow]:
    """An element a line."""
    with path.open("wb") as file:
        before = b"[\n"

        def write(row: Row) -> None:
            nonlocal before
            file.write(before + orjson.dumps(row))
            before = b",\n"

        yield write
        file.write(b"[]\n" if before == b"[\n" else b"\n]\n")


@contextmanager
def _parquet(path: Path) -> Iterator[WriteRow]:
    import pyarrow as pa  # type: ignore[import-untyped]  # heavy, and not needed by JSON
    import pyarrow.parquet as pq  # type: ignore[import-untyped]

    from platolm.parquet import COMPRESSION

    schema = _schema()
    group: list[Row] = []
    with pq.ParquetWriter(path, schema, compression=COMPRESSION) as parquet:

        def flush() -> None:
            parquet.write_table(pa.Table.from_pylist(group, schema=schema))
            group.clear()

        def write(row: Row) -> None:
            group.append(row)
            if len(group) == _ROW_GROUP:
                flush()

        yield write
        if group:
            flush()


def _schema() -> Any:
    import pyarrow as pa

    texts = ("termination_reason", "run_id", "simulator_model", "respondent_model", "model", "language", "mark")
    utterance = pa.struct([("from", pa.string()), ("value", pa.string())])
    columns = [("id", pa.string()), ("conversations", pa.list_(utterance)), ("system", pa.string())]
    return pa.schema([*columns, ("num_rounds", pa.int64()), *((name, pa.string()) for name in texts)])
