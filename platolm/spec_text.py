"""A run's spec for reading: every value with what it means, as YAML that `platolm.spec_file` reads again."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from platolm.plain_yaml import dump_yaml
from platolm.spec import RunSpec
from platolm.spec_file import SEEDS_KEY, inner_group

_WIDTH = 110
_INDENT = "  "
_HEADER = """\
# Everything that a run is asked for. Save it, change it, and give it to `platolm run FILE`.
# A field that is left out has its default; an option of the command line counts more than this file.

"""
_SEEDS_MEANING = "file that the conversations start from, by its path from here; see `platolm run --help`"
_GREATEST_LIMIT_TOLD = 1000
"""Above it a limit is there against slips."""


def spec_yaml(spec: RunSpec, seeds: Path | None = None) -> str:
    """Every field with its meaning as a comment; `seeds` is the seed file to name."""
    named = None if seeds is None else str(seeds)
    seed_lines = [f"# {_SEEDS_MEANING}\n", dump_yaml(SEEDS_KEY, named)]
    return _HEADER + "".join([*seed_lines, *_group_lines(spec, "")])


def spec_json(spec: RunSpec, seeds: Path | None = None) -> dict[str, Any]:
    """The same as plain data, for a spec file in JSON."""
    return {SEEDS_KEY: None if seeds is None else str(seeds), **spec.model_dump(mode="json")}


def _group_lines(group: BaseModel, indent: str) -> Iterator[str]:
    values = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        if not indent:
            yield "\n"
        yield from _comment(field, indent)
        if isinstance(inner := getattr(group, name), BaseModel):
            yield f"{indent}{name}:\n"
            yield from _group_lines(inner, indent + _INDENT)
        else:
            yield textwrap.indent(dump_yaml(name, values[name]), indent)


def _comment(field: FieldInfo, indent: str) -> Iterator[str]:
    """The field's description, or the docstring of the group that it holds; its choices or its range."""
    group = inner_group(field.annotation)
    meaning = field.description or (group.__doc__ if group is not None else None) or ""
    said = "; ".join(part for part in (meaning.strip(), _choices(field.annotation), _range(field)) if part)
    for line in textwrap.wrap(" ".join(said.split()), _WIDTH - len(indent)):
        yield f"{indent}# {line}\n"


def _choices(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return f"one of {', '.join(str(choice) for choice in get_args(annotation))}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return f"one of {', '.join(str(member.value) for member in annotation)}"
    return ""


def _range(field: FieldInfo) -> str:
    """The least and the most that a number may be, where a person might come near."""
    bounds = {
        name: value
        for one in field.metadata
        for name in ("ge", "gt", "le")
        if (value := getattr(one, name, None)) is not None
    }
    most = bounds.get("le")
    if most is None or most > _GREATEST_LIMIT_TOLD:
        return f"at least {bounds['ge']:,}" if bounds.get("ge", 0) > 1 else ""
    return f"above {bounds['gt']:,}, at most {most:,}" if "gt" in bounds else f"{bounds.get('ge', 0):,} to {most:,}"
