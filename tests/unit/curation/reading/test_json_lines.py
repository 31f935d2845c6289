"""Lines of JSON: what each says, and that a broken one costs itself alone."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import json_lines
from curation.reading.json_lines import record_of, records_of
from platolm.errors import BadLine


def read(content: bytes) -> list[tuple[int, Any]]:
    return list(records_of(io.BufferedReader(io.BytesIO(content))))


def test_records_come_with_the_numbers_of_their_lines() -> None:
    assert read(b'{"a": 1}\n\n  \r\n[2]\r\n3') == [(1, {"a": 1}), (4, [2]), (5, 3)]


@pytest.mark.parametrize(
    ("line", "record"),
    [
        (b'{"a": NaN, "b": [-Infinity, Infinity]}', {"a": None, "b": [None, None]}),
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b'{"a": 12345678901234567890123}', {"a": 12345678901234567890123}),
        (rb'"\ud83d\ude00"', "\U0001f600"),
    ],
)
def test_what_a_line_says(line: bytes, record: Any) -> None:
    assert record_of(line, 7) == record


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (rb'{"a": "\ud83d"}', "its text is not Unicode (a lone surrogate)"),
        (rb'{"\udc00": 1}', "its text is not Unicode (a lone surrogate)"),
        (b"\xff", "not UTF-8"),
        (b"\xed\xa0\x80", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (b"{broken", "not JSON: Expecting property name enclosed in double quotes"),
        (b"1" * 5_000, "not JSON: Exceeds the limit (4300 digits) for integer string conversion"),
    ],
)
def test_what_a_broken_line_is_said_to_be(line: bytes, reason: str) -> None:
    said = record_of(line, 7)
    assert isinstance(said, BadLine)
    assert (said.number, said.reason[: len(reason)]) == (7, reason)


def test_a_line_as_long_as_a_file_costs_itself_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "LARGEST_LINE", 10)
    fits, longer = b'"12345678"', b'"123456789"'
    found = read(b"\n".join([fits, longer, longer * 5, fits]) + b"\n")
    assert [type(record) for _, record in found] == [BadLine, BadLine, BadLine, BadLine]
    monkeypatch.setattr(json_lines, "LARGEST_LINE", 11)
    found = read(b"\n".join([fits, longer, longer * 5, fits]) + b"\n")
    assert found == [
        (1, "12345678"),
        (2, BadLine(2, "longer than 0 MiB")),
        (3, BadLine(3, "longer than 0 MiB")),
        (4, "12345678"),
    ]


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b'{"a": 1}', b"[]", rb'"\ud800"', b"NaN"]), max_size=6))
def test_whatever_comes_each_line_gives_a_record_or_a_bad_line(given_lines: list[bytes]) -> None:
    content = b"\n".join(given_lines)
    numbers = [number for number, line in enumerate(content.split(b"\n"), 1) if line.strip()]
    found = read(content)
    assert [number for number, _ in found] == numbers
    for _, record in found:
        assert isinstance(record, BadLine) or json.dumps(record, ensure_ascii=False).encode()
