"""JSON schemas in words: the kind of a value, its bounds, its default, and the table of an object's fields."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from reference.markdown import code, one_line, table

Schema = Mapping[str, Any]
Link = Callable[[str], str]
"""Gives the Markdown for the name of a schema that is described elsewhere."""

_FORMATS = {"password": "secret", "path": "path", "binary": "file", "date-time": "time"}
_KINDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "null": "null"}
_GREATEST_BOUND_TOLD = 10**6
"""Above it a bound is there against slips."""


def kind_of(schema: Schema, link: Link = code) -> str:
    """What a value may be, in a few words.

    Args:
        schema: of the value.
        link: makes a reference of a schema's name.
    """
    if "$ref" in schema:
        return link(str(schema["$ref"]).rpartition("/")[2])
    if len(schema.get("allOf", ())) == 1:
        return kind_of(schema["allOf"][0], link)
    for key in ("anyOf", "oneOf"):
        if key in schema:
            kinds = [kind_of(one, link) for one in schema[key]]
            return " or ".join(dict.fromkeys(kinds))
    if "enum" in schema:
        return ", ".join(code(str(value)) for value in schema["enum"])
    if "const" in schema:
        return code(str(schema["const"]))
    return _plain_kind(schema, link)


def _plain_kind(schema: Schema, link: Link) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(str(_KINDS.get(one, one)) for one in kind)
    if kind == "array":
        item = kind_of(schema.get("items", {}), link)
        return f"list of {item}" if item else "list"
    if kind == "object":
        value = schema.get("additionalProperties")
        inner = kind_of(value, link) if isinstance(value, Mapping) else ""
        return f"object of {inner}" if inner else "object"
    if kind is None:
        return "anything"
    return _FORMATS.get(str(schema.get("format")), _KINDS.get(str(kind), str(kind)))


def bounds_of(schema: Schema) -> str:
    """The least and greatest value, those against slips left out."""
    for one in schema.get("anyOf", ()):
        if bounds := bounds_of(one):
            return bounds
    lower = _bound(schema, "minimum", "≥ ") or _bound(schema, "exclusiveMinimum", "> ")
    upper = _bound(schema, "maximum", "≤ ") or _bound(schema, "exclusiveMaximum", "< ")
    return ", ".join(bound for bound in (lower, upper) if bound)


def default_of(schema: Schema) -> str:
    """The default as JSON; nothing where it is null, empty, or all the defaults of an inner object."""
    value = schema.get("default")
    if value is None or value in ([], {}, "") or isinstance(value, Mapping):
        return ""
    return code(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def field_rows(schema: Schema, link: Link = code, *, within: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Name, kind with bounds, default, meaning of each field of an object, and of those that stand in its place."""
    required = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        kind = ", ".join(part for part in (kind_of(field, link), bounds_of(field)) if part)
        default = "needed" if name in required else default_of(field)
        yield code(within + name), kind, default, one_line(field.get("description", ""))
        inner = field.get("items", {})
        yield from field_rows(field, link, within=f"{within}{name}.")
        yield from field_rows(inner, link, within=f"{within}{name}[].")


def fields_table(schema: Schema, link: Link = code) -> str:
    """The table of an object's fields. That null is as good as leaving a field out is not said of each."""
    rows = [
        (name, kind.replace(" or null", ""), default, meaning)
        for name, kind, default, meaning in field_rows(schema, link)
    ]
    return table(["field", "kind", "default", "meaning"], rows)


def answer_table(schema: Schema, link: Link = code) -> str:
    """The table of the fields of something that is given, not asked for: it has no defaults."""
    rows = [(name, kind, meaning) for name, kind, _, meaning in field_rows(schema, link)]
    return table(["field", "kind", "meaning"], rows)


def named_in(schema: Schema, definitions: Mapping[str, Schema]) -> list[str]:
    """The definitions that a schema refers to, directly or not, in the order in which a reader meets them."""
    found: dict[str, None] = {}

    def look(part: Any) -> None:
        if isinstance(part, Mapping):
            name = str(part.get("$ref", "")).rpartition("/")[2]
            if name and name not in found:
                found[name] = None
                look(definitions[name])
            for key, inner in part.items():
                if key != "$defs":
                    look(inner)
        elif isinstance(part, list):
            for inner in part:
                look(inner)

    look(schema)
    return list(found)


def _bound(schema: Schema, key: str, sign: str) -> str:
    value = schema.get(key)
    if value is None or abs(value) > _GREATEST_BOUND_TOLD:
        return ""
    return f"{sign}{value:,.12g}"
