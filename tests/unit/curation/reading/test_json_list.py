"""A JSON list element by element: the same as all at once, however it is cut into pieces."""

from __future__ import annotations

import io
import itertools
import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.reading import json_list
from curation.reading.json_list import elements_of

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=10,
)


class Drops(io.BytesIO):
    """Gives a few bytes at a time, whatever is asked for."""

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(min(size or 3, 3) if size and size > 0 else 3)


class Repeated(io.BytesIO):
    """One piece again and again between a head and a tail, made as it is read."""

    def __init__(self, head: bytes, piece: bytes, times: int, tail: bytes) -> None:
        super().__init__()
        self._pieces = itertools.chain([head], itertools.repeat(piece * 256, times // 256), [tail])

    def read(self, size: int | None = -1, /) -> bytes:
        return next(self._pieces, b"")


@given(elements=st.lists(JSON, max_size=4), indent=st.none() | st.integers(0, 2), ascii_only=st.booleans())
def test_elements_are_those_of_the_list(elements: list[Any], indent: int | None, ascii_only: bool) -> None:
    content = json.dumps(elements, indent=indent, ensure_ascii=ascii_only).encode()
    assert list(elements_of(io.BytesIO(content))) == elements
    assert list(elements_of(Drops(content))) == elements


def test_white_space_may_be_long_and_stand_anywhere() -> None:
    wide = (" " * 40).join(["", "[", "{", '"a"', ":", "[", "true", ",", "-12.5e3", "]", "}", ",", "0.5", "]", ""])
    assert list(elements_of(Drops(wide.encode()))) == [{"a": [True, -12500.0]}, 0.5]


def test_what_no_json_has_is_null() -> None:
    assert list(elements_of(Drops(b'[NaN, {"a": -Infinity}, Infinity]'))) == [None, {"a": None}, None]


@given(st.binary(max_size=12) | st.text('[]{},:"1 e-\\u', max_size=12).map(str.encode))
def test_whatever_comes_is_a_list_or_a_value_error(content: bytes) -> None:
    try:
        expected = json.loads(content.removeprefix(b"\xef\xbb\xbf").decode())
    except ValueError:
        expected = None
    if isinstance(expected, list):
        assert list(elements_of(Drops(content))) == expected
    else:
        with pytest.raises(ValueError, match=r".+"):
            list(elements_of(Drops(content)))


def test_what_is_missing_is_said_with_its_place() -> None:
    with pytest.raises(ValueError, match="a comma or the list's end is missing after element 2: '3'"):
        list(elements_of(io.BytesIO(b"[1, 2 3")))


@pytest.mark.parametrize("damaged", ['{broken "a": 1}', '{"a": 1} {', '{"a" 1}', '["\\x"]', "[1, ]", '{"a": tru}'])
def test_a_damaged_element_is_not_read_to_the_end_of_a_long_file(damaged: str) -> None:
    file = io.BytesIO(b"[1, " + damaged.encode() + b" " * (8 << 20))
    with pytest.raises(ValueError, match=r"element 2 is no JSON|missing after element 2"):
        list(elements_of(file))
    assert file.tell() <= 2 << 20


def test_an_element_that_has_no_end_is_not_read_to_the_end_of_a_long_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_list, "LARGEST_ELEMENT", 100)
    file = io.BytesIO(b'[1, "' + b"a" * (8 << 20))
    with pytest.raises(ValueError, match="element 2 is no JSON"):
        list(elements_of(file))
    assert file.tell() <= 2 << 20


def test_memory_holds_an_element_and_not_the_list() -> None:
    """64 MiB of elements of 1 KiB: what is held at a time stays below a few reads' size."""
    file = Repeated(b"[", b'{"a": "' + b"x" * 1024 + b'"},', 1 << 16, b"0]")
    tracemalloc.start()
    try:
        num_elements = sum(1 for _ in elements_of(file))
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert num_elements == (1 << 16) + 1
    assert most_bytes < 16 << 20
