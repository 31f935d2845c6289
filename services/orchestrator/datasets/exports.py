"""A dataset in the forms that it is fetched in, streamed: what is committed so far, in the order of commitment.

Records carry what a person thinks of them (`platolm.marks`): fields `mark` and `note`, where there is one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO, TypeVar

import orjson

from platolm.browse_api import MarkFilter
from platolm.conversation import from_sharegpt, to_openai
from platolm.dataset import ManifestEntry, iter_manifest, open_committed
from platolm.marks import Mark, marked_indices, read_marks
from platolm.runs_api import DatasetFormat
from platolm.segments import PARQUET_SUFFIX, Record, decode_segment, segment_lines
from platolm.storage import Place

T = TypeVar("T")
Reader = Callable[[BinaryIO, str, "Segment"], Iterator[T]]


@dataclass(frozen=True)
class Segment:
    """What of a segment is exported: all of it, or its records that are in `marks`."""

    marks: Mapping[int, Mark]
    only_marked: bool

    @property
    def is_plain(self) -> bool:
        """Whether its records leave as they are."""
        return not self.marks and not self.only_marked

    def records(self, file: BinaryIO, name: str) -> Iterator[tuple[Record, dict[str, str]]]:
        """The records, and the fields that their marks add."""
        for record in decode_segment(file, name):
            mark = self.marks.get(record["index"])
            if mark is not None or not self.only_marked:
                yield record, mark.exported() if mark is not None else {}


def media_type_of(form: DatasetFormat) -> str:
    """What a form is called over HTTP."""
    return "application/vnd.apache.parquet" if form is DatasetFormat.PARQUET else "application/jsonl"


def export(place: Place, form: DatasetFormat, mark: MarkFilter | None = None) -> Iterator[bytes]:
    """The dataset's bytes, of all records or of those so marked. Memory holds one segment's records at most.

    Raises:
        OutputError: a segment or a mark cannot be read. It may come when much has been given out already.
    """
    if form is DatasetFormat.PARQUET:
        return _parquet(place, mark)
    return _over_segments(place, mark, _sharegpt_lines if form is DatasetFormat.SHAREGPT else _openai_lines)


def _over_segments(place: Place, wanted: MarkFilter | None, read: Reader[T]) -> Iterator[T]:
    marked = set(marked_indices(place))
    for entry in iter_manifest(place):
        segment = _segment(place, entry, marked, wanted)
        if segment.marks or not segment.only_marked:
            with open_committed(place, entry) as file:
                yield from read(file, entry.segment, segment)


def _segment(place: Place, entry: ManifestEntry, marked: set[int], wanted: MarkFilter | None) -> Segment:
    marks = read_marks(place, [index for index in entry.indices if index in marked])
    if wanted is not None:
        marks = {index: mark for index, mark in marks.items() if wanted.takes(mark)}
    return Segment(marks, only_marked=wanted is not None)


def _sharegpt_lines(file: BinaryIO, name: str, segment: Segment) -> Iterator[bytes]:
    if segment.is_plain:
        return segment_lines(file, name)
    return (orjson.dumps({**record, **added}) + b"\n" for record, added in segment.records(file, name))


def _openai_lines(file: BinaryIO, name: str, segment: Segment) -> Iterator[bytes]:
    for record, added in segment.records(file, name):
        messages = to_openai(from_sharegpt(record).messages)
        yield orjson.dumps({"id": record["id"], "messages": messages, **added}) + b"\n"


def _parquet(place: Place, wanted: MarkFilter | None) -> Iterator[bytes]:
    from platolm.parquet import (  # pyarrow: heavy, for those who ask
        EXPORT_SCHEMA,
        parquet_stream,
        parquet_tables,
        record_tables,
    )

    def tables(file: BinaryIO, name: str, segment: Segment) -> Iterator[object]:
        if name.endswith(PARQUET_SUFFIX) and segment.is_plain:
            return parquet_tables(file, EXPORT_SCHEMA)
        return record_tables(({**record, **added} for record, added in segment.records(file, name)), EXPORT_SCHEMA)

    return parquet_stream(_over_segments(place, wanted, tables), EXPORT_SCHEMA)
