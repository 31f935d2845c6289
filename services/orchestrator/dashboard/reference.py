"""The API's description for people: what /openapi.json says, operation by operation, without an outside script."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from services.orchestrator.rendering.markdown import to_html

_EVERYWHERE = frozenset({"400", "401", "413", "415", "422", "503"})
"""Answers that every operation may give; the page says them once."""

_SAYS_NOTHING = "Successful Response"  # FastAPI's word where there is none of ours


@dataclass(frozen=True)
class Parameter:
    """One thing that a request carries; `kind` is its type in a few words."""

    name: str
    place: str
    kind: str
    required: bool
    description: str


@dataclass(frozen=True)
class Operation:
    """One method of one path. `description` is HTML of our own docstrings, through the allow-list all the same."""

    method: str
    path: str
    description: Markup
    parameters: list[Parameter]
    body: str | None
    answers: list[tuple[str, str, str]]


def operations_by_tag(openapi: Mapping[str, Any]) -> dict[str, list[Operation]]:
    """Every operation of a description, by its first tag, in the description's order."""
    found: dict[str, list[Operation]] = {}
    for path, methods in openapi["paths"].items():
        for method, operation in methods.items():
            found.setdefault(operation.get("tags", ["other"])[0], []).append(_operation(method, path, operation))
    return found


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Operation:
    return Operation(
        method.upper(),
        path,
        Markup(to_html(operation.get("description", operation.get("summary", "")))),
        [_parameter(parameter) for parameter in operation.get("parameters", [])],
        _content(operation.get("requestBody", {})) or None,
        [
            (status, answer["description"].replace(_SAYS_NOTHING, ""), _content(answer))
            for status, answer in sorted(operation["responses"].items())
            if status not in _EVERYWHERE
        ],
    )


def _parameter(parameter: Mapping[str, Any]) -> Parameter:
    schema = parameter["schema"]
    return Parameter(
        parameter["name"],
        parameter["in"],
        _kind(schema),
        parameter.get("required", False),
        parameter.get("description", ""),
    )


def _content(body: Mapping[str, Any]) -> str:
    """The schemas that a body may have, with their media types where that is not JSON."""
    kinds = []
    for media_type, content in body.get("content", {}).items():
        kind = _kind(content.get("schema", {}))
        kinds.append(kind if media_type == "application/json" else f"{media_type} {kind}".strip())
    return " or ".join(kinds)


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words: `integer 1..200`, `RunRequest`, `string`."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"] if one.get("type") != "null")
    if "enum" in schema:
        return " or ".join(f"“{value}”" for value in schema["enum"])
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = f" {'' if low is None else low}..{'' if high is None else high}" if (low, high) != (None, None) else ""
    return f"{schema.get('type', '')}{bounds}"
