"""Segments: the same records, whichever form they are written in."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets  # type: ignore[import-untyped]
import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from platolm import parquet
from platolm.dataset import ConversationRecord, SideRecord, TurnRecord
from platolm.sampling import Sampling
from platolm.segments import (
    decode_segment,
    encode_segment,
    fresh_segment_name,
    is_usable_name,
    read_segment,
    segment_lines,
)
from platolm.spec import OutputFormat
from tests.conversation_records import record_json

RECORDS = [record_json(index) for index in (5, 2)]


@pytest.fixture(params=list(OutputFormat))
def form(request: pytest.FixtureRequest) -> OutputFormat:
    return OutputFormat(request.param)


def written(folder: Path, form: OutputFormat, records: list[str]) -> Path:
    path = folder / fresh_segment_name(form)
    path.write_bytes(encode_segment(records, form))
    return path


def test_every_field_comes_back(form: OutputFormat, tmp_path: Path) -> None:
    assert list(read_segment(written(tmp_path, form, RECORDS))) == [json.loads(record) for record in RECORDS]


def test_a_segment_as_lines(form: OutputFormat, tmp_path: Path) -> None:
    path = written(tmp_path, form, RECORDS)
    with path.open("rb") as file:
        lines = b"".join(segment_lines(file, path.name)).split(b"\n")
    assert lines[-1] == b""
    assert [json.loads(line) for line in lines[:-1]] == [json.loads(record) for record in RECORDS]


def test_a_record_over_several_lines_becomes_one() -> None:
    content = encode_segment([json.dumps({"a": "b\nc"}, indent=1)], OutputFormat.JSONL)
    assert zstandard.ZstdDecompressor().decompress(content).count(b"\n") == 1
    assert list(decode_segment(io.BytesIO(content), "x.jsonl.zst")) == [{"a": "b\nc"}]


def test_names_are_fresh_and_usable(form: OutputFormat) -> None:
    names = {fresh_segment_name(form) for _ in range(50)}
    assert len(names) == 50
    assert all(is_usable_name(name) for name in names)


@pytest.mark.parametrize(
    "name",
    [
        "",
        "../run.json",
        "a" * 32,
        "A" * 32 + ".parquet",
        "a" * 31 + ".parquet",
        "a" * 32 + ".parquet\n",
        "a" * 32 + ".tmp",
    ],
)  # fmt: skip
def test_other_names_are_not(name: str) -> None:
    assert not is_usable_name(name)


def fields(kind: Any) -> list[str]:
    return [kind.field(i).name for i in range(kind.num_fields)]


def test_the_columns_are_the_fields_of_a_record() -> None:
    side = parquet.SCHEMA.field("simulator").type
    assert parquet.SCHEMA.names == list(ConversationRecord.model_fields)
    assert fields(parquet.SCHEMA.field("turns").type.value_type) == list(TurnRecord.model_fields)
    assert parquet.SCHEMA.field("respondent").type == side
    assert fields(side) == list(SideRecord.model_fields)
    assert fields(side.field("sampling").type) == list(Sampling.model_fields)


def test_others_read_parquet(tmp_path: Path) -> None:
    path = written(tmp_path, OutputFormat.PARQUET, RECORDS)
    assert pd.read_parquet(path)["index"].tolist() == [5, 2]
    rows = datasets.Dataset.from_parquet(str(path), cache_dir=str(tmp_path / "cache"))
    assert isinstance(rows, datasets.Dataset)
    assert rows[1]["conversations"] == json.loads(RECORDS[1])["conversations"]
    assert rows[0]["turns"][1]["token_ids"] == [7, 128_000]


def test_an_empty_segment_has_the_columns() -> None:
    content = encode_segment([], OutputFormat.PARQUET)
    assert pq.read_schema(io.BytesIO(content)).equals(parquet.SCHEMA)
    assert list(decode_segment(io.BytesIO(content), "x.parquet")) == []


def test_a_record_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="int"):
        encode_segment(['{"index": "five"}'], OutputFormat.PARQUET)


def test_a_stream_of_tables_is_one_file_written_piece_by_piece() -> None:
    tables = [parquet.record_table([json.loads(record_json(index))]) for index in range(4)]
    asked: list[int] = []

    def counted() -> Any:
        for number, table in enumerate(tables):
            asked.append(number)
            yield table

    stream = parquet.parquet_stream(counted())
    pieces = [next(stream)]
    assert asked == [0]
    assert pieces[0].startswith(b"PAR1")
    pieces += stream
    whole = pq.ParquetFile(io.BytesIO(b"".join(pieces)))
    assert whole.num_row_groups == 4
    assert whole.read().equals(pa.concat_tables(tables))
