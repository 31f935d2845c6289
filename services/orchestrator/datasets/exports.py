"""A dataset in the forms that it is fetched in, streamed: what is committed so far, in the order of commitment."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import BinaryIO, TypeVar

import orjson

from platolm.conversation import from_sharegpt, to_openai
from platolm.dataset import ManifestEntry, iter_manifest, segment_name
from platolm.errors import OutputError
from platolm.runs_api import DatasetFormat
from platolm.segments import PARQUET_SUFFIX, decode_segment, segment_lines
from platolm.storage import Place

T = TypeVar("T")


def media_type_of(form: DatasetFormat) -> str:
    """What a form is called over HTTP."""
    return "application/vnd.apache.parquet" if form is DatasetFormat.PARQUET else "application/jsonl"


def export(place: Place, form: DatasetFormat) -> Iterator[bytes]:
    """The dataset's bytes. Memory holds one segment's records at most, whatever the dataset's size.

    Raises:
        OutputError: a segment cannot be read. It may come when much has been given out already.
    """
    if form is DatasetFormat.PARQUET:
        return _parquet(place)
    return _over_segments(place, segment_lines if form is DatasetFormat.SHAREGPT else _openai_lines)


def _over_segments(place: Place, read: Callable[[BinaryIO, str], Iterator[T]]) -> Iterator[T]:
    for entry in iter_manifest(place):
        with _opened(place, entry) as file:
            yield from read(file, entry.segment)


def _opened(place: Place, entry: ManifestEntry) -> BinaryIO:
    file = place.open(segment_name(entry.segment))
    if file is None:
        raise OutputError(f"{place}/{segment_name(entry.segment)} is missing, but the manifest names it")
    return file


def _openai_lines(file: BinaryIO, name: str) -> Iterator[bytes]:
    for record in decode_segment(file, name):
        messages = to_openai(from_sharegpt(record).messages)
        yield orjson.dumps({"id": record["id"], "messages": messages}) + b"\n"


def _parquet(place: Place) -> Iterator[bytes]:
    from platolm.parquet import parquet_stream, parquet_tables, record_tables  # pyarrow: heavy, for those who ask

    def tables(file: BinaryIO, name: str) -> Iterator[object]:
        if name.endswith(PARQUET_SUFFIX):
            return parquet_tables(file)
        return record_tables(decode_segment(file, name))

    return parquet_stream(_over_segments(place, tables))
