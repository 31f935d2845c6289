"""Files of rows in Arrow's stream format, as `datasets` maps them into memory."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]
from numpy.typing import NDArray

from platolm.dyadic import IGNORE_INDEX

if TYPE_CHECKING:
    from datasets import Dataset  # type: ignore[import-untyped]

_LISTS = ("input_ids", "labels")
_NUMBERS = ("length", "num_labels", "first_turn")
SCHEMA = pa.schema([*((name, pa.list_(pa.int32())) for name in _LISTS), *((name, pa.int32()) for name in _NUMBERS)])
"""Columns of a row; `length` is that of `input_ids` and `labels`."""

_BATCH_TOKENS = 1 << 20


class Row(NamedTuple):
    """`input_ids` and `labels`, [length]; `first_turn` learned turns of its conversation came in earlier rows."""

    input_ids: NDArray[np.int32]
    labels: NDArray[np.int32]
    first_turn: int

    @property
    def num_labels(self) -> int:
        return int(np.count_nonzero(self.labels != IGNORE_INDEX))


def write_rows(path: Path, rows: Iterable[Row]) -> int:
    """Write rows durably; how many labels they have. No file without rows.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    batches = _batches(rows)
    first = next(batches, None)
    if first is None:
        return 0
    with path.open("xb") as file, pa.ipc.new_stream(file, SCHEMA) as stream:
        num_labels = _write(stream, first) + sum(_write(stream, batch) for batch in batches)
        stream.close()
        file.flush()
        os.fsync(file.fileno())
    return num_labels


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    batch: list[Row] = []
    num_tokens = 0
    for row in rows:
        batch.append(row)
        num_tokens += len(row.input_ids)
        if num_tokens >= _BATCH_TOKENS:
            yield batch
            batch, num_tokens = [], 0
    if batch:
        yield batch


def _write(stream: Any, batch: list[Row]) -> int:
    lengths = np.array([len(row.input_ids) for row in batch], dtype=np.int32)
    num_labels = np.array([row.num_labels for row in batch], dtype=np.int32)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    lists = [
        pa.ListArray.from_arrays(offsets, pa.array(np.concatenate([getattr(row, name) for row in batch])))
        for name in _LISTS
    ]
    firsts = np.array([row.first_turn for row in batch], dtype=np.int32)
    numbers = [pa.array(values) for values in (lengths, num_labels, firsts)]
    stream.write_batch(pa.record_batch([*lists, *numbers], schema=SCHEMA))
    return int(num_labels.sum())


def mapped_rows(folder: Path, name: str) -> Dataset:
    """The rows of `NAME-*.arrow` in a folder, mapped into memory in the order of the files' names."""
    from datasets import Dataset, Features, concatenate_datasets

    files = sorted(folder.glob(f"{name}-*.arrow"))
    if not files:
        return Dataset.from_dict({column: [] for column in SCHEMA.names}, features=Features.from_arrow_schema(SCHEMA))
    return concatenate_datasets([Dataset.from_file(str(file)) for file in files])
