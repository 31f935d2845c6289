"""Generated pages are what `make docs` would write now, and say something of everything."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import pytest

from reference.formats_page import meanings_of
from reference.http_page import gateway_document, operations, orchestrator_document
from reference.markdown import anchor, one_line, table
from reference.pages import DOCS, PAGES
from reference.schemas import answer_table, bounds_of, default_of, fields_table, kind_of, named_in
from reference.settings_page import MEANINGS, PROCESSES, setting_rows


@pytest.mark.parametrize("name", PAGES)
def test_the_page_is_up_to_date(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_API_API_KEYS", "0123456789abcdef")  # what is set here is not what the page is about
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "stale: write it again with `make docs`"


def test_every_setting_has_a_meaning_and_none_is_said_twice() -> None:
    rows = [row for kind in PROCESSES for row in setting_rows(kind)]
    assert [variable for variable, _, _, meaning in rows if not meaning] == []
    fields = [(name, field) for kind in PROCESSES for name, field in kind.model_fields.items()]
    assert {name for name, field in fields if field.description is None} == set(MEANINGS)


def test_every_route_is_there() -> None:
    text = (DOCS / "http-api.md").read_text(encoding="utf-8")
    routes = [route for document in (orchestrator_document(), gateway_document()) for route, _ in operations(document)]
    assert len(routes) > 35
    assert [route for route in routes if f"\n### `{route}`\n" not in text] == []


def test_no_two_objects_of_the_two_documents_share_a_heading() -> None:
    first, second = (document["components"]["schemas"] for document in (orchestrator_document(), gateway_document()))
    assert {name for name in first.keys() & second.keys() if first[name] != second[name]} == set()


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "string", "format": "password"}, "secret"),
        ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, "integer or null"),
        ({"type": "array", "items": {"$ref": "#/$defs/Turn"}}, "list of `Turn`"),
        ({"type": "array"}, "list of anything"),
        ({"enum": ["a", "b"]}, "`a`, `b`"),
        ({"const": "a"}, "`a`"),
        ({"type": "object", "additionalProperties": {"type": "number"}}, "object of number"),
        ({"type": "object", "additionalProperties": True}, "object"),
        ({"allOf": [{"type": "boolean"}]}, "true or false"),
        ({}, "anything"),
    ],
)
def test_kinds(schema: dict[str, object], kind: str) -> None:
    assert kind_of(schema) == kind


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        ({"minimum": 1, "maximum": 65535}, "≥ 1, ≤ 65,535"),
        ({"exclusiveMinimum": 0.2, "exclusiveMaximum": 1}, "> 0.2, < 1"),
        ({"minimum": 0, "maximum": 10**15}, "≥ 0"),
        ({"anyOf": [{"minimum": 1}, {"type": "null"}]}, "≥ 1"),
        ({}, ""),
    ],
)
def test_bounds(schema: dict[str, object], bounds: str) -> None:
    assert bounds_of(schema) == bounds


@pytest.mark.parametrize(
    ("value", "told"),
    [
        (None, ""),
        ([], ""),
        ({"a": 1}, ""),
        ("a", "`a`"),
        (False, "`false`"),
        (0.5, "`0.5`"),
        (["a"], '`["a"]`'),
    ],
)
def test_defaults(value: object, told: str) -> None:
    assert default_of({"default": value}) == told


SCHEMA = {
    "required": ["id"],
    "properties": {
        "id": {"type": "string", "description": "a | b"},
        "told": {"type": "object", "properties": {"goal": {"anyOf": [{"type": "string"}, {"type": "null"}]}}},
        "turns": {"type": "array", "items": {"$ref": "#/$defs/Turn"}},
    },
}


def test_fields_that_stand_in_place_are_told_with_their_path() -> None:
    assert fields_table(SCHEMA).splitlines() == [
        "| field | kind | default | meaning |",
        "|---|---|---|---|",
        "| `id` | text | needed | a \\| b |",
        "| `told` | object |  |  |",
        "| `told.goal` | text |  |  |",
        "| `turns` | list of `Turn` |  |  |",
    ]
    assert "| `told.goal` | text or null |  |" in answer_table(SCHEMA)


def test_definitions_come_in_the_order_of_reading() -> None:
    definitions: dict[str, dict[str, Any]] = {
        "A": {"properties": {}},
        "B": {"properties": {"c": {"$ref": "#/$defs/C"}, "again": {"$ref": "#/$defs/B"}}},
        "C": {"enum": ["x"]},
        "Unused": {},
    }
    schema = {"properties": {"b": {"$ref": "#/$defs/B"}, "a": {"items": {"$ref": "#/$defs/A"}}}, "$defs": definitions}
    assert named_in(schema, definitions) == ["B", "C", "A"]


class Fruit(StrEnum):
    """Things that grow."""

    APPLE = "apple"
    """Grows on trees,
    and is red."""
    PEAR = "pear"


def test_meanings_are_the_docstrings_below_the_values() -> None:
    assert list(meanings_of(Fruit)) == [("apple", "Grows on trees, and is red."), ("pear", "")]


def test_markdown() -> None:
    assert anchor("Run spec: SideSpec") == "run-spec-sidespec"
    assert one_line("a\n  <b> `List<String>`") == "a &lt;b> `List<String>`"
    assert table(["a"], []) == ""
