"""A dataset in the forms that it is fetched in."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from platolm import parquet
from platolm.browse_api import MarkFilter
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER
from platolm.errors import OutputError
from platolm.marks import MarkRequest, keep_mark
from platolm.runs_api import DatasetFormat
from platolm.spec import OutputFormat
from platolm.storage import LocalPlace, Place
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.exports import export
from tests.conversation_records import record_json

BATCHES = [[4, 1], [0], [2, 3]]
ORDER = [1, 4, 0, 2, 3]


@pytest.fixture(params=list(OutputFormat))
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    return dataset(tmp_path, OutputFormat(request.param))


def dataset(folder: Path, form: OutputFormat, batches: list[list[int]] = BATCHES) -> Place:
    place = LocalPlace(folder)
    place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
    place.write(RUN_FILE, [b"{}"])
    writer = DatasetWriter(place, conversations=5, form=form)
    for batch in batches:
        writer.commit({index: record_json(index) for index in batch})
    return place


def lines(place: Place, form: DatasetFormat) -> list[dict[str, object]]:
    return [json.loads(line) for line in b"".join(export(place, form)).split(b"\n") if line]


def test_sharegpt_is_every_record(place: Place) -> None:
    assert lines(place, DatasetFormat.SHAREGPT) == [json.loads(record_json(index)) for index in ORDER]


def test_openai_is_messages(place: Place) -> None:
    rows = lines(place, DatasetFormat.OPENAI)
    assert [row["id"] for row in rows] == [f"run-a-{index:08d}" for index in ORDER]
    assert rows[0] == {
        "id": "run-a-00000001",
        "messages": [
            {"role": "user", "content": "é\u2028✓\n1"},
            {"role": "assistant", "content": "yes"},
        ],
    }


def test_parquet_is_one_file(place: Place) -> None:
    table = pq.read_table(io.BytesIO(b"".join(export(place, DatasetFormat.PARQUET))))
    assert table.schema.equals(parquet.EXPORT_SCHEMA)
    unmarked = {"mark": None, "note": None}
    assert table.to_pylist() == [{**json.loads(record_json(index)), **unmarked} for index in ORDER]


@pytest.fixture
def marked(place: Place) -> Place:
    """1 and 2 are good, 4 is bad, 3 has a note."""
    for index, value, note in ((1, "good", "a ✓"), (2, "good", None), (4, "bad", None), (3, None, "look again")):
        keep_mark(place, index, MarkRequest(mark=value, note=note))
    return place


ADDED: dict[int, dict[str, str]] = {
    1: {"mark": "good", "note": "a ✓"},
    4: {"mark": "bad"},
    0: {},
    2: {"mark": "good"},
    3: {"note": "look again"},
}


def test_records_carry_their_marks(marked: Place) -> None:
    expected = [{**json.loads(record_json(index)), **ADDED[index]} for index in ORDER]
    assert lines(marked, DatasetFormat.SHAREGPT) == expected
    added = [{k: row[k] for k in ("mark", "note") if k in row} for row in lines(marked, DatasetFormat.OPENAI)]
    assert added == [ADDED[index] for index in ORDER]
    table = pq.read_table(io.BytesIO(b"".join(export(marked, DatasetFormat.PARQUET))))
    assert table.schema.equals(parquet.EXPORT_SCHEMA)
    assert table.to_pylist() == [{"mark": None, "note": None, **record} for record in expected]


@pytest.mark.parametrize(
    ("mark", "expected"), [(MarkFilter.GOOD, [1, 2]), (MarkFilter.BAD, [4]), (MarkFilter.ANY, [1, 4, 2])]
)
def test_only_what_is_marked(marked: Place, mark: MarkFilter, expected: list[int]) -> None:
    whole = [{**json.loads(record_json(index)), **ADDED[index]} for index in expected]
    sharegpt = b"".join(export(marked, DatasetFormat.SHAREGPT, mark)).splitlines()
    assert [json.loads(line) for line in sharegpt] == whole
    openai = b"".join(export(marked, DatasetFormat.OPENAI, mark)).splitlines()
    assert [json.loads(line)["id"] for line in openai] == [f"run-a-{index:08d}" for index in expected]
    table = pq.read_table(io.BytesIO(b"".join(export(marked, DatasetFormat.PARQUET, mark))))
    assert table.column("index").to_pylist() == expected
    assert table.column("mark").to_pylist() == [ADDED[index]["mark"] for index in expected]


@pytest.mark.parametrize("form", list(DatasetFormat))
def test_nothing_is_marked(place: Place, form: DatasetFormat) -> None:
    content = b"".join(export(place, form, MarkFilter.ANY))
    if form is DatasetFormat.PARQUET:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0
    else:
        assert content == b""


@pytest.mark.parametrize("form", list(OutputFormat))
def test_parquet_comes_segment_by_segment(form: OutputFormat, tmp_path: Path) -> None:
    pieces = export(dataset(tmp_path, form), DatasetFormat.PARQUET)
    assert next(pieces).startswith(b"PAR1")
    for segment in (tmp_path / SEGMENTS_FOLDER).iterdir():
        segment.unlink()
    with pytest.raises(OutputError, match="is missing, but the manifest names it"):
        next(pieces)


@pytest.mark.parametrize("form", list(DatasetFormat))
def test_nothing_committed_yet(form: DatasetFormat, tmp_path: Path) -> None:
    content = b"".join(export(dataset(tmp_path, OutputFormat.JSONL, []), form))
    if form is DatasetFormat.PARQUET:
        assert pq.read_table(io.BytesIO(content)).num_rows == 0
    else:
        assert content == b""


def test_segments_are_closed_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[BinaryIO] = []
    plain = place.open

    def remembered(name: str) -> BinaryIO | None:
        file = plain(name)
        assert file is not None
        opened.append(file)
        return file

    monkeypatch.setattr(place, "open", remembered)
    for form in DatasetFormat:
        whole: Iterator[bytes] = export(place, form)
        b"".join(whole)
    assert [file.closed for file in opened] == [True] * 9
