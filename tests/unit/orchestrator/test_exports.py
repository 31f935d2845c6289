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
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER
from platolm.errors import OutputError
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
    assert table.schema.equals(parquet.SCHEMA)
    assert table.to_pylist() == [json.loads(record_json(index)) for index in ORDER]


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
