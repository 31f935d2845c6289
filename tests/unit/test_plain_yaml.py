"""YAML as people mean it: values, places, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.plain_yaml import PlainYamlError, dump_yaml, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E6", 1_000_000.0),
        (".5", 0.5),
        ("-.inf", float("-inf")),
        ("010", 10),
        ("-7", -7),
        ("0x1F", 31),
        ("0o17", 15),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("no", "no"),
        ("Yes", "Yes"),
        ("off", "off"),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("2024-01-01", "2024-01-01"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("=", "="),
        ("a b", "a b"),
    ],
)
def test_a_scalar_is_what_it_looks_like(text: str, value: Any) -> None:
    tree, _ = read_yaml(f"a: {text}")
    assert tree == {"a": value}
    assert type(tree["a"]) is type(value)


def test_every_value_has_its_place() -> None:
    text = "a: 1\nb:\n  c: 2\n\n  d: [x,\n      {e: 3}]\n"
    tree, places = read_yaml(text)
    assert tree == {"a": 1, "b": {"c": 2, "d": ["x", {"e": 3}]}}
    assert places == [
        (("a",), 1),
        (("b",), 2),
        (("b", "c"), 3),
        (("b", "d"), 5),
        (("b", "d", "0"), 5),
        (("b", "d", "1"), 6),
        (("b", "d", "1", "e"), 6),
    ]


def test_a_key_given_twice_is_told_twice() -> None:
    _, places = read_yaml("a: 1\na: 2\n")
    assert places == [(("a",), 1), (("a",), 2)]


def test_an_empty_text_is_nothing() -> None:
    assert read_yaml("# only a comment\n") == (None, [])


@pytest.mark.parametrize(
    ("text", "said", "line"),
    [
        ("a: 1\nb: [1, 2\nc: 3\n", "expected ',' or ']'", 3),
        ("a:\n\tb: 1\n", "a tab where spaces indent", 2),
        ("a: 1\n---\nb: 2\n", "expected a single document", 2),
        ("a: &x 1\nb: *x\n", "anchors and aliases", 1),
        ("b: *x\n", "anchors and aliases", 1),
        ("a: &x {b: *x}\n", "anchors and aliases", 1),
        ("a: !!python/object/apply:os.getcwd []\n", "could not determine a constructor", 1),
        ("a: b: c\n", "mapping values are not allowed here", 1),
        ("a: {{ name }}\n", "found unhashable key", 1),
        ("a: " + "9" * 5000, "Exceeds the limit", None),
        ("a: \x01\n", "special characters are not allowed", None),
        ("[" * 5000, "nested too deeply", None),
    ],
)
def test_what_is_broken_is_told_with_its_line(text: str, said: str, line: int | None) -> None:
    with pytest.raises(PlainYamlError) as caught:
        read_yaml(text)
    assert said in caught.value.reason
    assert "\n" not in caught.value.reason
    assert caught.value.line == line


def test_a_text_of_several_lines_is_a_block() -> None:
    assert dump_yaml("a", "one\n  two\n\nthree") == "a: |-\n  one\n    two\n\n  three\n"


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(), st.lists, max_leaves=5
    )
)
def test_what_is_written_is_read_again(value: Any) -> None:
    tree, _ = read_yaml(dump_yaml("name", value))
    assert tree == {"name": value}


@given(st.sampled_from(["1e-3", "no", "010", "null", "1:30", "2024-01-01", ".5", "0o7", "true", "", " x ", "#", "a\n"]))
def test_texts_that_look_like_something_else_stay_texts(text: str) -> None:
    assert read_yaml(dump_yaml("name", [text]))[0] == {"name": [text]}
