"""Records out of files, folders and datasets, in a fixed order."""

from __future__ import annotations

import datetime
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest
import zstandard

from curation.dialogue import Dialogue
from curation.reading import Entry, Unreadable, entries_of, files_of, read_dialogues
from platolm.dataset import ManifestEntry, compress_records, manifest_path, segment_path
from platolm.errors import BadLine, InputError


def record(name: str) -> dict[str, Any]:
    return {"id": name, "conversations": [{"from": "human", "value": f"é {name}"}, {"from": "gpt", "value": "a"}]}


def lines(*names: str) -> bytes:
    return b"".join(json.dumps(record(name), ensure_ascii=False).encode() + b"\n" for name in names)


def a_list(*names: str) -> bytes:
    return json.dumps([record(name) for name in names], ensure_ascii=False, indent=1).encode()


def ids(path: Path) -> list[str]:
    return [found.id if isinstance(found, Dialogue) else found.reason for found in read_dialogues([path])]


def indented(*names: str) -> bytes:
    return b"\n".join(json.dumps(record(name), ensure_ascii=False, indent=2).encode() for name in names)


def packed(content: bytes, ending: str) -> bytes:
    if ending == ".gz":
        return gzip.compress(content)
    return zstandard.compress(content) if ending == ".zst" else content


@pytest.mark.parametrize("form", [lines, a_list, indented])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_lines_lists_and_objects_packed_and_encoded(
    tmp_path: Path, form: Callable[..., bytes], encoding: str, ending: str
) -> None:
    path = tmp_path / f"a.json{ending}"
    path.write_bytes(packed(form("a", "b").decode().encode(encoding), ending))
    found = list(read_dialogues([path]))
    assert [d.id for d in found if isinstance(d, Dialogue)] == ["a", "b"]
    assert [d.messages[0].content for d in found if isinstance(d, Dialogue)] == ["é a", "é b"]
    assert [d.origin for d in found] == [f"{path}:1", f"{path}:2"]


def test_numbers_in_a_list_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('[{"id": 1, "conversations": [], "score": 0.25, "n": 12345678901234567890}]')
    (found,) = read_dialogues([path])
    assert isinstance(found, Dialogue)
    assert found.fields == {"score": 0.25, "n": 12345678901234567890}
    assert type(found.fields["score"]) is float


def test_a_parquet_file_with_times_gives_what_json_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    when = datetime.datetime(2023, 4, 5, 6, 7, 8)
    turns = [{"role": "user", "content": "q", "toxic": False}, {"role": "assistant", "content": "a", "toxic": None}]
    pq.write_table(pa.Table.from_pylist([{"conversation_hash": "h", "conversation": turns, "timestamp": when}]), path)
    (found,) = read_dialogues([path])
    assert isinstance(found, Dialogue)
    assert (found.id, found.fields) == ("h", {"timestamp": "2023-04-05T06:07:08"})


def test_a_broken_line_comes_in_its_place(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines("a") + b"{broken\n" + lines("b"))
    found = list(read_dialogues([path]))
    assert isinstance(found[1], Unreadable)
    assert found[1].origin == f"{path}:2"
    assert found[1].reason.startswith("not JSON")
    assert [d.id for d in found if isinstance(d, Dialogue)] == ["a", "b"]


def test_a_lone_surrogate_in_a_list_costs_its_element_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(rb'[{"id": "\ud83d"}, {"id": "b", "conversations": []}]')
    first, second = entries_of([path])
    assert first == Entry(f"{path}:1", BadLine(1, "its text is not Unicode (a lone surrogate)"))
    assert second.record["id"] == "b"


@pytest.mark.parametrize(
    "content", [b"[1, 2", b"[}", b"[\xff]", b"[[[[", b'["a" "b"]', b"[" * 100_000, b"[1] 2", b"[1,]"]
)
def test_a_damaged_list_is_said_to_be_one(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json begins as a JSON list but is not one"):
        list(entries_of([path]))


def test_a_damaged_object_on_several_lines_is_said_to_be_one(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(indented("a") + b"\n{\n")
    with pytest.raises(InputError, match=r"a\.json begins with an object on several lines but is damaged: element 2"):
        list(entries_of([path]))


def test_several_forms_in_one_file(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    turns = [{"role": "user", "content": "q"}]
    tree = {"message_tree_id": "d", "prompt": {"message_id": "m", "role": "prompter", "text": "q"}}
    records = [record("a"), {"id": "b", "messages": turns}, {"conversation_id": "c", "conversation": turns}, tree]
    path.write_text("\n".join(map(json.dumps, records)))
    assert ids(path) == ["a", "b", "c", "d/m"]


@pytest.mark.parametrize(
    ("name", "said"), [("a.jsonl.gz", "cannot be read"), ("a.parquet", "no readable Parquet file")]
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(InputError, match=said):
        list(entries_of([path]))


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_a_file_that_was_cut_off_is_no_shorter_file(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"a.jsonl{ending}"
    whole = packed(lines("a"), ending) + packed(lines("b"), ending)
    path.write_bytes(whole)
    assert ids(path) == ["a", "b"]
    path.write_bytes(whole[:-4])
    with pytest.raises(InputError, match=rf"a\.jsonl\{ending} cannot be read"):
        ids(path)


@pytest.mark.parametrize("ending", [".gz", ".zst"])
def test_what_is_packed_is_known_without_the_ending_of_its_name(tmp_path: Path, ending: str) -> None:
    (tmp_path / "a.json").write_bytes(packed(a_list("a", "b"), ending))
    assert ids(tmp_path / "a.json") == ["a", "b"]


def test_parquet_is_known_without_the_ending_of_its_name(tmp_path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([record("a")]), tmp_path / "train-0")
    assert ids(tmp_path / "train-0") == ["a"]


def test_a_text_that_is_not_in_the_encoding_it_begins_in_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines("a").decode().encode("utf-16")[:-1])
    with pytest.raises(InputError, match=r"a\.jsonl begins as UTF-16\S* but is not: truncated data"):
        ids(path)


def test_a_dataset_as_the_hub_has_it_gives_what_lies_in_its_folders(tmp_path: Path) -> None:
    (tmp_path / "dataset_info.json").write_text("{}")
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train.jsonl").write_bytes(lines("a"))
    (tmp_path / "data" / "circle").symlink_to(tmp_path)
    (tmp_path / "z.jsonl").write_bytes(lines("z"))
    assert ids(tmp_path) == ["a", "z"]


def test_a_folder_gives_its_files_by_name_and_no_file_twice(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a.json", ".hidden.jsonl", "notes.txt"):
        (tmp_path / name).write_bytes(lines(name))
    assert files_of([tmp_path, tmp_path / "a.json"]) == [tmp_path / "a.json", tmp_path / "b.jsonl"]
    assert ids(tmp_path) == ["a.json", "b.jsonl"]


def test_the_dataset_of_a_run_gives_its_committed_segments(tmp_path: Path) -> None:
    name = "0" * 32 + ".jsonl.zst"
    for folder in ("segments", "manifest"):
        (tmp_path / folder).mkdir()
    content = compress_records([record("in a segment")])
    segment_path(tmp_path, name).write_bytes(content)
    segment_path(tmp_path, "1" * 32 + ".jsonl.zst").write_bytes(compress_records([record("not committed")]))
    (tmp_path / "sharegpt.jsonl").write_bytes(lines("the same again"))
    entry = ManifestEntry(number=1, segment=name, indices=[0], size_bytes=len(content), sha256="")
    manifest_path(tmp_path, 1).write_text(entry.model_dump_json())
    assert ids(tmp_path) == ["in a segment"]


def test_a_segment_that_is_not_committed_does_not_count(tmp_path: Path) -> None:
    for folder in ("segments", "manifest"):
        (tmp_path / folder).mkdir()
    segment_path(tmp_path, "1" * 32 + ".jsonl.zst").write_bytes(compress_records([record("not committed")]))
    with pytest.raises(InputError, match="holds no dialogues"):
        files_of([tmp_path])


def test_a_dataset_without_segments_gives_its_sharegpt_file(tmp_path: Path) -> None:
    (tmp_path / "sharegpt.jsonl").write_bytes(lines("a"))
    (tmp_path / "other.jsonl").write_bytes(lines("b"))
    assert ids(tmp_path) == ["a"]


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        files_of([tmp_path / "none"])
    with pytest.raises(InputError, match="holds no dialogues"):
        files_of([tmp_path])
    with pytest.raises(InputError, match="there is no data"):
        files_of([])


def test_reading_stops_after_as_many_records_as_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines("a", "b", "c"))
    assert [d.id for d in read_dialogues([path], num_records=2) if isinstance(d, Dialogue)] == ["a", "b"]
