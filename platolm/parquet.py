"""Conversation records as Parquet: one column a field, nested where the record is, the same for every dataset."""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, BinaryIO

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]

COMPRESSION = "zstd"
ROW_GROUP_RECORDS = 1024
_READ_RECORDS = 64

_SAMPLING = pa.struct(
    [
        ("temperature", pa.float64()),
        ("top_p", pa.float64()),
        ("top_k", pa.int64()),
        ("min_p", pa.float64()),
        ("repetition_penalty", pa.float64()),
        ("max_tokens", pa.int64()),
    ]
)
_SIDE = pa.struct(
    [("profile", pa.string()), ("model", pa.string()), ("sampling", _SAMPLING), ("system_prompt", pa.string())]
)
_UTTERANCE = pa.struct([("from", pa.string()), ("value", pa.string())])
_TURN = pa.struct(
    [
        ("role", pa.string()),
        ("num_tokens", pa.int64()),
        ("num_prompt_tokens", pa.int64()),
        ("num_cached_tokens", pa.int64()),
        ("finish_reason", pa.string()),
        ("sampling_seed", pa.int64()),
        ("duration_s", pa.float64()),
        ("token_ids", pa.list_(pa.int32())),
        ("end", pa.string()),
        ("goodbye_probability", pa.float64()),
        ("faults", pa.list_(pa.string())),
        ("api", pa.string()),
    ]
)
SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("run_id", pa.string()),
        ("index", pa.int64()),
        ("conversations", pa.list_(_UTTERANCE)),
        ("num_rounds", pa.int64()),
        ("termination_reason", pa.string()),
        ("goodbye_at", pa.int64()),
        ("goodbye_end", pa.string()),
        ("simulator", _SIDE),
        ("respondent", _SIDE),
        ("seed", pa.int64()),
        ("seed_mode", pa.string()),
        ("seed_line", pa.int64()),
        ("seed_ended", pa.bool_()),
        ("turns", pa.list_(_TURN)),
        ("started_at", pa.float64()),
        ("finished_at", pa.float64()),
    ]
)
"""The columns: those of `platolm.dataset.ConversationRecord`, whose fields a test compares."""

EXPORT_SCHEMA = pa.schema([*SCHEMA, ("mark", pa.string()), ("note", pa.string())])
"""Those of an exported dataset, where records carry their marks; null where there is none."""


def record_table(records: list[dict[str, Any]], schema: pa.Schema = SCHEMA) -> pa.Table:
    """Records as columns.

    Raises:
        ValueError: a record does not fit them.
    """
    return pa.Table.from_pylist(records, schema=schema)


def record_tables(records: Iterable[dict[str, Any]], schema: pa.Schema = SCHEMA) -> Iterator[pa.Table]:
    """Records as columns, in tables of one row group's size.

    Raises:
        ValueError: a record does not fit them.
    """
    left = iter(records)
    while group := list(islice(left, ROW_GROUP_RECORDS)):
        yield record_table(group, schema)


def parquet_bytes(records: Iterable[dict[str, Any]]) -> bytes:
    """A whole Parquet file.

    Raises:
        ValueError: a record does not fit the columns.
    """
    buffer = io.BytesIO()
    pq.write_table(record_table(list(records)), buffer, compression=COMPRESSION, row_group_size=ROW_GROUP_RECORDS)
    return buffer.getvalue()


def parquet_records(file: BinaryIO, columns: Sequence[str] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a Parquet file, a few at a time; of them these columns (dotted where nested), or all."""
    for batch in pq.ParquetFile(file).iter_batches(batch_size=_READ_RECORDS, columns=columns):
        yield from batch.to_pylist()


def parquet_tables(file: BinaryIO, schema: pa.Schema = SCHEMA) -> Iterator[pa.Table]:
    """The row groups of a Parquet file of records; columns that only `schema` has are null."""
    parquet = pq.ParquetFile(file)
    for number in range(parquet.num_row_groups):
        table = parquet.read_row_group(number).cast(SCHEMA)
        for field in list(schema)[len(SCHEMA) :]:
            table = table.append_column(field, pa.nulls(len(table), field.type))
        yield table


def parquet_stream(tables: Iterable[pa.Table], schema: pa.Schema = SCHEMA) -> Iterator[bytes]:
    """One Parquet file of all tables, in pieces: a row group each, then the footer. Memory holds one of them."""
    sink = _Sink()
    with pq.ParquetWriter(sink, schema, compression=COMPRESSION) as writer:
        for table in tables:
            writer.write_table(table, row_group_size=ROW_GROUP_RECORDS)
            yield sink.taken()
    yield sink.taken()


class _Sink(io.RawIOBase):
    """Takes what is written, for somebody to fetch."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        piece = bytes(content)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def tell(self) -> int:
        return self._size

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)
