"""A dataset folder: what is written whole, and what is read back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.dataset import (
    ManifestEntry,
    compress_records,
    iter_manifest,
    manifest_path,
    read_manifest,
    read_records,
    read_segment,
    segment_path,
)
from platolm.errors import OutputError
from platolm.storage import open_atomically, write_atomically


def commit(folder: Path, number: int, *indices: int) -> ManifestEntry:
    content = compress_records({"index": index, "text": "é\u2028✓"} for index in indices)
    entry = ManifestEntry(
        number=number, segment=f"s{number}.jsonl.zst", indices=list(indices), size_bytes=len(content), sha256="0" * 64
    )
    write_atomically(segment_path(folder, entry.segment), content)
    write_atomically(manifest_path(folder, number), entry.model_dump_json().encode())
    return entry


def test_records_come_back_in_the_order_of_commitment(tmp_path: Path) -> None:
    commit(tmp_path, 1, 5, 2)
    commit(tmp_path, 2, 9)
    records = list(read_records(tmp_path))
    assert [record["index"] for record in records] == [5, 2, 9]
    assert records[0]["text"] == "é\u2028✓"


def test_a_segment_without_an_entry_does_not_count(tmp_path: Path) -> None:
    commit(tmp_path, 1, 1)
    write_atomically(segment_path(tmp_path, "stray.jsonl.zst"), compress_records([{"index": 2}]))
    assert [record["index"] for record in read_records(tmp_path)] == [1]


def test_a_manifest_can_be_read_from_a_number_on(tmp_path: Path) -> None:
    entries = [commit(tmp_path, number, number) for number in (1, 2, 3)]
    assert read_manifest(tmp_path) == entries
    assert read_manifest(tmp_path, after=2) == entries[2:]
    assert read_manifest(tmp_path, after=3) == []


def test_a_manifest_ends_at_its_first_gap(tmp_path: Path) -> None:
    commit(tmp_path, 1, 1)
    commit(tmp_path, 3, 3)
    assert [entry.number for entry in read_manifest(tmp_path)] == [1]


def test_many_entries_are_read_in_their_order(tmp_path: Path) -> None:
    for number in range(1, 200):
        entry = ManifestEntry(number=number, segment="s", indices=[number], size_bytes=1, sha256="0" * 64)
        manifest_path(tmp_path, number).parent.mkdir(exist_ok=True)
        manifest_path(tmp_path, number).write_text(entry.model_dump_json())
    assert [entry.number for entry in iter_manifest(tmp_path)] == list(range(1, 200))
    assert [entry.number for entry in iter_manifest(tmp_path, after=150)] == list(range(151, 200))


def test_a_segment_that_is_missing_is_named(tmp_path: Path) -> None:
    commit(tmp_path, 1, 1)
    segment_path(tmp_path, "s1.jsonl.zst").unlink()
    with pytest.raises(OutputError, match=r"segments/s1\.jsonl\.zst is missing, but the manifest names it"):
        list(read_records(tmp_path))


def test_an_empty_folder_has_no_records(tmp_path: Path) -> None:
    assert list(read_records(tmp_path)) == []


def test_a_damaged_entry_is_named(tmp_path: Path) -> None:
    commit(tmp_path, 1, 1)
    manifest_path(tmp_path, 1).write_text("{broken")
    with pytest.raises(OutputError, match=r"00000001\.json is damaged"):
        read_manifest(tmp_path)


@given(st.lists(st.dictionaries(st.text(max_size=4), st.text(max_size=12), max_size=3), max_size=5))
def test_any_text_survives_compression(tmp_path_factory: pytest.TempPathFactory, records: list[dict[str, str]]) -> None:
    path = tmp_path_factory.mktemp("segment") / "a.jsonl.zst"
    path.write_bytes(compress_records(records))
    assert list(read_segment(path)) == records


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "a.txt"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["a.txt"]


def test_a_failure_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_atomically(path, b"old")

    def fail_half_way() -> None:
        with open_atomically(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "a.txt", b"x")
