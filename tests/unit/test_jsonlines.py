"""Records out of JSON lines and lists, and what is said about broken ones."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from platolm.errors import BadLine, InputError
from platolm.jsonlines import read_json_records


def records(path: Path) -> list[tuple[int, Any]]:
    return list(read_json_records(path))


def test_lines_are_numbered_and_blank_ones_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": 1}\n\n  \n{"a": 2}\r\n"x"')
    assert records(path) == [(1, {"a": 1}), (4, {"a": 2}), (5, "x")]


def test_a_list_is_numbered_by_its_elements(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('\n [\n{"a": 1},\n\n{"a": 2}]\n')
    assert records(path) == [(1, {"a": 1}), (2, {"a": 2})]


@pytest.mark.parametrize("content", ['{"a": "é"}\n', '[{"a": "é"}]'])
def test_gzip_and_a_byte_order_mark(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(content.encode("utf-8-sig")))
    assert records(path) == [(1, {"a": "é"})]


def test_line_separators_inside_text_do_not_end_a_line(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "x\u2028y\u0085z"}\n', encoding="utf-8")
    assert records(path) == [(1, {"a": "x\u2028y\u0085z"})]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"{broken", "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8"),
        (b'{"a": "\\ud83d"}', "not Unicode"),
        (b'{"\\ud83d": 1}', "not Unicode"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
    ids=["syntax", "encoding", "surrogate", "surrogate-key", "depth"],
)
def test_a_broken_line_comes_in_its_place(tmp_path: Path, line: bytes, said: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n" + line + b"\n2\n")
    (first, (number, bad), last) = records(path)
    assert (first, last) == ((1, 1), (3, 2))
    assert number == 2
    assert isinstance(bad, BadLine)
    assert said in bad.reason


def test_a_surrogate_pair_is_text(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"a": "\\ud83d\\ude00"}\n')
    assert records(path) == [(1, {"a": "😀"})]


def test_a_list_element_that_is_no_text_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text('["a", "\\udc00"]')
    assert [number for number, record in records(path) if isinstance(record, BadLine)] == [2]


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("")
    assert records(path) == []


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", b"[1, 2", "begins as a JSON list but is not one"),
        ("a.gz", b"not gzip", "cannot be read"),
        ("a.gz", gzip.compress(b"1\n2\n" * 5000)[:-12], "cannot be read"),
    ],
    ids=["no list", "not packed", "cut off"],
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=said):
        records(tmp_path / name)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        records(tmp_path / "nowhere.jsonl")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), max_size=5), st.booleans())
def test_what_was_written_is_read(tmp_path: Path, written: list[Any], ascii_only: bool) -> None:
    lines, whole = tmp_path / "a.jsonl", tmp_path / "a.json"
    lines.write_text("".join(json.dumps(r, ensure_ascii=ascii_only) + "\n" for r in written), encoding="utf-8")
    whole.write_text(json.dumps(written, ensure_ascii=ascii_only), encoding="utf-8")
    assert [record for _, record in read_json_records(lines)] == written
    assert [record for _, record in read_json_records(whole)] == written
