"""A segment's bytes: records as JSON lines in zstd, or as one Parquet file; told apart by the end of its name."""

from __future__ import annotations

import io
import json
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson
import zstandard

from platolm.spec import OutputFormat

Record = dict[str, Any]
"""A finished conversation; `platolm.dataset.TurnRecord` documents `turns`, `ConversationRecord` the rest."""

SEGMENT_SUFFIX = ".jsonl.zst"
PARQUET_SUFFIX = ".parquet"
SUFFIXES: Mapping[OutputFormat, str] = {OutputFormat.JSONL: SEGMENT_SUFFIX, OutputFormat.PARQUET: PARQUET_SUFFIX}

_USABLE_NAME = re.compile(r"[0-9a-f]{32}(?:" + "|".join(re.escape(suffix) for suffix in SUFFIXES.values()) + ")")
_LEVEL = 3
_CHUNK_BYTES = 256 * 1024


def fresh_segment_name(form: OutputFormat) -> str:
    """A name that no segment has."""
    return uuid.uuid4().hex + SUFFIXES[form]


def is_usable_name(name: str) -> bool:
    """Whether a text is a segment's name, and nothing else that a path could mean."""
    return _USABLE_NAME.fullmatch(name) is not None


def encode_segment(records: Iterable[str], form: OutputFormat) -> bytes:
    """A segment's bytes from records as workers write them: a JSON object each.

    Raises:
        ValueError: a record is no JSON, or does not fit the columns of Parquet.
    """
    if form is OutputFormat.PARQUET:
        from platolm.parquet import parquet_bytes  # pyarrow: heavy, and not needed by JSON lines

        return parquet_bytes(orjson.loads(record) for record in records)
    # A line break in a JSON text is white space: inside a string it is escaped.
    lines = (record.replace("\n", " ").encode() + b"\n" for record in records)
    return zstandard.ZstdCompressor(level=_LEVEL).compress(b"".join(lines))


def compress_records(records: Iterable[Record]) -> bytes:
    """The bytes of a segment of JSON lines."""
    return encode_segment((json.dumps(record, ensure_ascii=False) for record in records), OutputFormat.JSONL)


def read_segment(path: Path) -> Iterator[Record]:
    """The records of one segment on this machine."""
    with path.open("rb") as file:
        yield from decode_segment(file, path.name)


def decode_segment(file: BinaryIO, name: str) -> Iterator[Record]:
    """The records of a segment that is open."""
    if name.endswith(PARQUET_SUFFIX):
        from platolm.parquet import parquet_records

        yield from parquet_records(file)
    else:
        for line in io.BufferedReader(_unpacked(file)):
            yield orjson.loads(line)


def segment_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    """The records of a segment that is open as JSON lines, in chunks of whole lines or parts of them."""
    if name.endswith(PARQUET_SUFFIX):
        for record in decode_segment(file, name):
            yield orjson.dumps(record) + b"\n"
    else:
        reader = _unpacked(file)
        while chunk := reader.read(_CHUNK_BYTES):
            yield chunk


def _unpacked(file: BinaryIO) -> zstandard.ZstdDecompressionReader:
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
