"""Recipes for reading: one as commented YAML, all as a list."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import Any, Literal, get_args, get_origin

import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from training.recipes.overrides import inner_model
from training.recipes.recipe import Recipe

_WIDTH = 110
_INDENT = "  "


def recipe_yaml(recipe: Recipe, original: Recipe) -> str:
    """Every value with what it means as a comment; one that differs from the original's names that one.

    `platolm train` takes the text again as a .yaml file.
    """
    return "\n".join(_group_lines(recipe, original.model_dump(mode="json"), depth=0)) + "\n"


def recipe_lines(recipes: Iterable[Recipe]) -> list[str]:
    """A line for each: its name and what it is for."""
    listed = list(recipes)
    width = max((len(recipe.name) for recipe in listed), default=0)
    return [f"{recipe.name:<{width}}  {recipe.purpose}" for recipe in listed]


def _group_lines(group: BaseModel, original: Mapping[str, Any], depth: int) -> Iterator[str]:
    values = group.model_dump(mode="json")
    for name, field in type(group).model_fields.items():
        indent = _INDENT * depth
        yield from _comment(field, indent)
        value, before, inner = values[name], original.get(name), getattr(group, name)
        changed = name in original and value != before
        if not isinstance(inner, BaseModel):
            yield f"{indent}{name}: {_scalar(value)}" + (f"  # changed, was: {_scalar(before)}" if changed else "")
        elif isinstance(before, dict):
            yield f"{indent}{name}:"
            yield from _group_lines(inner, before, depth + 1)
        else:
            yield f"{indent}{name}:" + ("  # changed, was: null" if changed else "")
            yield from _group_lines(inner, {}, depth + 1)


def _comment(field: FieldInfo, indent: str) -> Iterator[str]:
    """The field's own docstring, or that of the group it holds, and the choices that it does not name."""
    group = inner_model(field.annotation)
    text = field.description or (group.__doc__ if group is not None else None) or ""
    choices = _choices(field.annotation)
    if not all(choice in text for choice in choices):
        text = f"{text} One of: {', '.join(choices)}."
    for line in textwrap.wrap(" ".join(text.split()), _WIDTH - len(indent)):
        yield f"{indent}# {line}"


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [str(choice) for choice in get_args(annotation)]
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return [str(member.value) for member in annotation]
    return []


def _scalar(value: Any) -> str:
    """Plain data as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, allow_unicode=True, width=10**9)
    return text.removesuffix("...\n").strip()
