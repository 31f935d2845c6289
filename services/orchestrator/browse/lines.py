"""A segment as JSON lines, in pieces of whole lines that are small enough to look at without holding others up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import BinaryIO

import orjson

from platolm.segments import PARQUET_SUFFIX, segment_lines

COLUMNS = (
    "id",
    "index",
    "conversations",
    "num_rounds",
    "termination_reason",
    "turns.list.element.role",
    "turns.list.element.num_tokens",
    "turns.list.element.finish_reason",
)
"""Columns of a Parquet segment that browsing needs: reading the token ids too would take several times as long."""

_RECORDS_AT_ONCE = 64


def line_pieces(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The records of a segment that is open, as pieces of whole JSON lines; of Parquet only `COLUMNS`."""
    return _parquet_lines(file) if name.endswith(PARQUET_SUFFIX) else whole_lines(segment_lines(file, name))


def whole_lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Bytes that are cut anywhere, cut behind line ends."""
    rest = b""
    for piece in pieces:
        head, newline, tail = piece.rpartition(b"\n")
        if newline:
            yield rest + head + newline
            rest = tail
        else:
            rest += piece
    if rest:
        yield rest + b"\n"


def _parquet_lines(file: BinaryIO) -> Iterator[bytes]:
    from platolm.parquet import parquet_records  # pyarrow: heavy, and not needed by JSON lines

    records = parquet_records(file, COLUMNS)
    while some := list(islice(records, _RECORDS_AT_ONCE)):
        yield b"".join(orjson.dumps(record) + b"\n" for record in some)
