"""Which files count, and their records in chunks that hang on the data alone."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from platolm.dataset import ManifestEntry, compress_records, manifest_path, segment_path
from platolm.errors import BadLine, InputError
from tests.unit.training.data.records import record, write_lines
from training.data.reading import Chunk, Entry, chunks_of, files_of, text_size


def write_segment(folder: Path, number: int, records: list[dict[str, Any]], *, committed: bool = True) -> Path:
    content = compress_records(records)
    path = segment_path(folder, f"part-{9 - number}.jsonl.zst")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    if committed:
        entry = ManifestEntry(
            number=number,
            segment=path.name,
            indices=list(range(len(records))),
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        manifest_path(folder, number).parent.mkdir(exist_ok=True)
        manifest_path(folder, number).write_text(entry.model_dump_json(), encoding="utf-8")
    return path


def all_entries(chunks: list[Chunk]) -> list[Entry]:
    return [entry for chunk in chunks for entry in chunk.entries]


def test_a_folder_gives_its_data_files_by_name(tmp_path: Path) -> None:
    for name in ("b.json", "a.jsonl", "c.jsonl.gz", "d.json.zst", "notes.txt", "x.tar.gz", ".hidden.json"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "deeper").mkdir()
    write_lines(tmp_path / "deeper" / "e.jsonl", [record("Hi", "Hello")])
    assert [file.name for file in files_of([str(tmp_path)])] == ["a.jsonl", "b.json", "c.jsonl.gz", "d.json.zst"]


def test_paths_keep_their_order_and_a_file_comes_once(tmp_path: Path) -> None:
    first, second = (write_lines(tmp_path / name, [record("Hi", "Hello")]) for name in ("z.jsonl", "a.txt"))
    wanted = [str(first), str(second), str(tmp_path / "." / "z.jsonl"), str(tmp_path)]
    assert files_of(wanted) == [first, second]


def test_a_runs_folder_gives_its_committed_segments_in_their_order(tmp_path: Path) -> None:
    committed = [write_segment(tmp_path, number, [record(f"q{number}", "a")]) for number in (1, 2)]
    write_segment(tmp_path, 3, [record("never committed", "a")], committed=False)
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    write_lines(tmp_path / "sharegpt.jsonl", [record("without ids", "a")])
    assert files_of([str(tmp_path)]) == committed


def test_a_runs_folder_without_segments_gives_its_sharegpt_file(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}", encoding="utf-8")
    file = write_lines(tmp_path / "sharegpt.jsonl", [record("Hi", "a")])
    assert files_of([str(tmp_path)]) == [file]


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no data: name files or folders"):
        files_of([])
    with pytest.raises(InputError, match=r"nowhere: no such file or folder"):
        files_of([str(tmp_path / "nowhere")])
    with pytest.raises(InputError, match="holds no dialogues"):
        files_of([str(tmp_path)])
    write_segment(tmp_path, 1, [record("Hi", "a")]).unlink()
    with pytest.raises(InputError, match=r"part-8\.jsonl\.zst is missing, but the manifest"):
        files_of([str(tmp_path)])


def test_every_form_gives_its_records_in_order(tmp_path: Path) -> None:
    plain = json.dumps(record("two", "a")).encode()
    (tmp_path / "a.json").write_text(json.dumps([record("one", "a"), 7]), encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(plain + b"\n{broken\n"))
    (tmp_path / "c.jsonl.zst").write_bytes(zstandard.compress(b"\n" + plain))
    entries = all_entries(list(chunks_of(files_of([str(tmp_path)]))))
    assert [(Path(entry.file).name, entry.line) for entry in entries] == [
        ("a.json", 1),
        ("a.json", 2),
        ("b.jsonl.gz", 1),
        ("b.jsonl.gz", 2),
        ("c.jsonl.zst", 2),
    ]
    assert [entry.record for entry in entries if not isinstance(entry.record, BadLine)] == [
        record("one", "a"),
        7,
        record("two", "a"),
        record("two", "a"),
    ]
    assert isinstance(entries[3].record, BadLine)


def test_a_damaged_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(record("Hi", "a")).encode())[:-4])
    with pytest.raises(InputError, match=r"a\.jsonl\.gz cannot be read"):
        list(chunks_of([tmp_path / "a.jsonl.gz"]))


def test_chunks_hold_every_record_once_and_their_sizes_are_the_files(tmp_path: Path) -> None:
    records = [record(f"question {i}", "answer " * (i % 7)) for i in range(200)]
    plain = write_lines(tmp_path / "a.jsonl", records[:120])
    packed = tmp_path / "b.jsonl.gz"
    packed.write_bytes(gzip.compress("\n".join(json.dumps(one) for one in records[120:]).encode()))
    chunks = list(chunks_of([plain, packed], chunk_text=2000))
    assert [entry.record for entry in all_entries(chunks)] == records
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert sum(chunk.size_bytes for chunk in chunks) == plain.stat().st_size + packed.stat().st_size
    assert 10 < len(chunks) < 20
    assert {str(plain), str(packed)} in [{entry.file for entry in chunk.entries} for chunk in chunks]


def test_a_gigantic_record_is_a_chunk_of_its_own(tmp_path: Path) -> None:
    records = [record("x" * 5000, "a"), record("y", "a"), {"token_ids": [7] * 9000, "conversations": []}]
    chunks = list(chunks_of([write_lines(tmp_path / "a.jsonl", records)], chunk_text=3000))
    assert [len(chunk.entries) for chunk in chunks] == [1, 2]


def test_packed_files_are_taken_for_three_times_their_size(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"x" * 100)
    (tmp_path / "b.jsonl.gz").write_bytes(b"x" * 100)
    assert text_size([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"]) == 400
