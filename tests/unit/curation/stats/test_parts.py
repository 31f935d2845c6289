"""Datasets in parts: every record in one of them, with its origin, whatever the file."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from curation.dialogue import Dialogue
from curation.reading import Unreadable, read_dialogues
from curation.stats import parts
from curation.stats.parts import FileLines, Records, Segment, UnpackedLines, files_and_size, parts_of
from platolm.dataset import ManifestEntry, compress_records, manifest_path, segment_path
from platolm.errors import InputError
from tests.unit.curation.stats.records import record, varied, written

MANY = [varied(number) for number in range(30)]


def everything(*paths: Path, form: str | None = None) -> list[Dialogue | Unreadable]:
    files, size = files_and_size(paths)
    found = list(parts_of(files, form))
    assert sum(part.num_bytes for part in found) == size
    return [item for part in found for item in part.read()]


def records_in(path: Path) -> list[dict[str, object]]:
    return [item.as_record() for item in everything(path) if isinstance(item, Dialogue)]


def test_plain_lines_are_cut_after_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 256)
    short, long = record("s", "a", "b"), record("l", "a" * 300, "b")
    path = written(tmp_path / "a.jsonl", [short, long, short, short, short, short])
    found = [part for part in parts_of([path]) if isinstance(part, FileLines)]
    assert [(part.first, len(list(part.read()))) for part in found] == [(1, 1), (2, 1), (3, 2), (5, 2)]
    assert [part.begin for part in found] == [0, *accumulate(part.num_bytes for part in found[:-1])]
    assert everything(path) == list(read_dialogues([path]))


def test_the_last_line_may_lack_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.jsonl", MANY)
    whole = everything(path)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    for size in (1, 100, 1000, 10**6):
        monkeypatch.setattr(parts, "PART_BYTES", size)
        assert everything(path) == whole


def recoded(text: bytes) -> bytes:
    return text.decode().encode("utf-16")


@pytest.mark.parametrize(("ending", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress), ("16", recoded)])
def test_packed_and_recoded_lines_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 2000)
    plain = written(tmp_path / "a.jsonl", MANY)
    packed = tmp_path / f"b.jsonl.{ending}"
    packed.write_bytes(pack(plain.read_bytes()))
    kinds = {type(part) for part in parts_of([packed])}
    assert kinds == {UnpackedLines, Records}
    assert records_in(packed) == records_in(plain)
    assert [item.origin for item in everything(packed)] == [f"{packed}:{number}" for number in range(1, 31)]


def test_a_byte_order_mark_and_blank_lines_are_no_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(record("1", "a", "b")).encode() + b"\r\n\n  \n")
    (part,) = parts_of([path])
    assert [item.origin for item in part.read()] == [f"{path}:1"]


@pytest.mark.parametrize("line", ["{", '"text"', '{"conversations": [{"from": 1}]}', '{"id": "\\ud83d"}', "[1]"])
def test_a_broken_line_comes_in_its_place(tmp_path: Path, line: str) -> None:
    path = written(tmp_path / "a.jsonl", [record("1", "a"), line, record("3", "b")])
    found = everything(path)
    assert [item.origin for item in found] == [f"{path}:{number}" for number in (1, 2, 3)]
    assert [type(item) for item in found] == [Dialogue, Unreadable, Dialogue]
    assert found == list(read_dialogues([path]))


def test_numbers_that_are_no_json_are_read_as_elsewhere(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", [json.dumps(record("1", "a", "b", score=float("nan")))])
    assert everything(path) == list(read_dialogues([path]))
    assert [type(item) for item in everything(path)] == [Dialogue]


def test_a_list_is_read_as_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_RECORDS", 2)
    path = tmp_path / "a.json"
    path.write_text(json.dumps(MANY[:5]))
    assert {type(part) for part in parts_of([path])} == {Records}
    assert everything(path) == list(read_dialogues([path]))


def test_an_indented_object_is_a_record(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(MANY[1], indent=2))
    assert records_in(path) == [MANY[1]]


def test_what_is_nested_too_deeply_costs_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    deep = '{"id": "d", "conversations": [], "x": ' + "[" * 900 + "]" * 900 + "}"
    path.write_text(f"[{json.dumps(MANY[1])}, {deep}, {json.dumps(MANY[2])}]")
    found = everything(path)
    assert [item.id for item in found if isinstance(item, Dialogue) and item.messages] == ["r1", "r2"]


def test_parquet_is_read_as_records(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    rows = [record(str(number), "why?", "so") for number in range(3)]
    pq.write_table(pa.Table.from_pylist(rows), path)
    assert records_in(path) == rows


def test_a_form_is_forced_upon_every_kind(tmp_path: Path) -> None:
    openai = {
        "id": "1",
        "messages": [{"role": "user", "content": "a"}],
        "conversations": [{"from": "gpt", "value": "b"}],
    }
    lines, a_list = written(tmp_path / "a.jsonl", [openai]), tmp_path / "b.json"
    a_list.write_text(json.dumps([openai]))
    for path in (lines, a_list):
        for form, content in (("openai", "a"), ("sharegpt", "b")):
            (item,) = everything(path, form=form)
            assert isinstance(item, Dialogue)
            assert item.messages[0].content == content


def test_a_runs_segments_are_parts(tmp_path: Path) -> None:
    for number in (1, 2):
        content = compress_records([varied(number)])
        entry = ManifestEntry(number=number, segment=f"{number}.jsonl.zst", indices=[number], size_bytes=1, sha256="")
        for path, data in (
            (segment_path(tmp_path, entry.segment), content),
            (manifest_path(tmp_path, number), entry.model_dump_json().encode()),
        ):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(data)
    assert [type(part) for part in parts_of(files_and_size([tmp_path])[0])] == [Segment, Segment]
    assert [item.id for item in everything(tmp_path) if isinstance(item, Dialogue)] == ["r1", "r2"]


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"id": "1"}\n' * 1000)[:-20])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz"):
        everything(path)


def test_a_line_without_end_is_no_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "LARGEST_LINE", 1 << 20)
    monkeypatch.setattr(parts, "PART_BYTES", 1 << 19)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"x" * (2 << 20))
    with pytest.raises(InputError, match="a line longer than 1 MiB"):
        everything(path)
