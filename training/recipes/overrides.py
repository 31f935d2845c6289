"""Settings from the command line: `group.key=value` on top of a recipe or a loop, and those from files.

Values are read by the type of the field they are for: pydantic turns text into numbers, booleans and choices, JSON
gives lists and groups, `null` empties what may be empty.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from platolm.errors import InputError
from training.recipes.recipe import Recipe

_NUM_SUGGESTIONS = 3
_MAX_SHOWN_VALUE = 60

SettingsT = TypeVar("SettingsT", bound=BaseModel)

Tree = dict[str, Any]
"""Settings as plain data: groups as dicts."""


def with_overrides(settings: SettingsT, assignments: Sequence[str]) -> SettingsT:
    """The settings with each `group.key=value` put in, the last one of a key counting.

    Raises:
        InputError: names every assignment that is none, key that is not there and value that does not fit.
    """
    model, tree, problems = type(settings), settings.model_dump(mode="json"), []
    for assignment in assignments:
        try:
            _assign(tree, assignment, model)
        except ValueError as error:
            problems.append(str(error))
    try:
        changed = model.model_validate(tree)
    except ValidationError as error:
        problems += [_sentence(detail) for detail in error.errors()]
    if problems:
        raise InputError("; ".join(problems))
    return changed


def recipe_of(name: str, recipes: Mapping[str, Recipe]) -> Recipe:
    """The recipe of this name, or of this file; see `named`."""
    return named(name, recipes, Recipe, kind="recipe", command="platolm train")


def named(name: str, known: Mapping[str, SettingsT], model: type[SettingsT], *, kind: str, command: str) -> SettingsT:
    """The settings of this name, or of this file in JSON or YAML (`COMMAND NAME --show` writes one).

    Raises:
        InputError: no such name or file, or the file holds no such settings.
    """
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix not in (".json", ".yaml", ".yml"):
        raise InputError(f"there is no {kind} {name}{_nearest(name, known)}; `{command} --list` names them all")
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))  # JSON is YAML
    except OSError as error:
        raise InputError(f"the {kind} {path} cannot be read: {error.strerror or error}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is neither JSON nor YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        raise InputError(f"{path} holds no {kind}: {'; '.join(map(_sentence, error.errors()))}") from error


def differing_keys(one: Recipe, other: Recipe) -> list[str]:
    """The dotted keys whose values are not the same, or that one of the two lacks."""
    left, right = dict(_leaves(one.model_dump())), dict(_leaves(other.model_dump()))
    keys = [key for key in {**left, **right} if (key in left, left.get(key)) != (key in right, right.get(key))]
    return [key for key in keys if not any(longer.startswith(f"{key}.") for longer in keys)]


def inner_model(annotation: Any) -> type[BaseModel] | None:
    """The group that a field holds, also where it may be None."""
    candidates = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    models = (one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel))
    return next(models, None)


def _annotation(key: str, model: type[BaseModel]) -> Any | None:
    """The type of a dotted key's value; None where there is no such key."""
    annotation: Any = model
    for part in key.split("."):
        group = inner_model(annotation)
        if group is not None and part in group.model_fields:
            annotation = group.model_fields[part].annotation
        elif get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        else:
            return None
    return annotation


def _assign(tree: Tree, assignment: str, model: type[BaseModel]) -> None:
    """Put one `group.key=value` into the tree.

    Raises:
        ValueError: it has no value, its key is not there, or its JSON is broken.
    """
    key, sign, value = assignment.partition("=")
    if not sign:
        raise ValueError(f"{assignment} lacks a value: write {assignment}=VALUE")
    annotation = _annotation(key, model)
    if annotation is None:
        raise ValueError(f"there is no {key}{_suggestion(key, model)}")
    try:
        _put(tree, key.split("."), _plain(value, annotation))
    except json.JSONDecodeError as error:
        raise ValueError(f"{assignment}: broken JSON ({error.msg} at character {error.pos + 1})") from error


def _put(tree: Tree, parts: Sequence[str], value: Any) -> None:
    *groups, last = parts
    for group in groups:
        if not isinstance(tree.get(group), dict):
            tree[group] = {}
        tree = tree[group]
    tree[last] = value


def _plain(text: str, annotation: Any) -> Any:
    """Text as plain data, for pydantic to make the field's value of."""
    if text in ("null", "none", "None") and type(None) in get_args(annotation):
        return None
    if annotation is str or not text.startswith(("[", "{")):
        return text
    return json.loads(text)


def _sentence(detail: ErrorDetails) -> str:
    """One of pydantic's errors: the key, what is wrong, what was given."""
    where = ".".join(str(part) for part in detail["loc"])
    message = detail["msg"].removeprefix("Value error, ")
    if not where:
        return message
    given = json.dumps(detail["input"], default=str, ensure_ascii=False)
    shown = "" if detail["type"] in ("missing", "extra_forbidden") else f" (given: {given[:_MAX_SHOWN_VALUE]})"
    return f"{where}: {message}{shown}"


def _suggestion(key: str, model: type[BaseModel]) -> str:
    """The keys that were meant, perhaps: alike as a whole, or of the same last part in another group."""
    known = list(_keys(model))
    same_end = [one for one in known if one.rpartition(".")[2] == key.rpartition(".")[2]]
    return _nearest(key, known, first=same_end)


def _nearest(word: str, known: Sequence[str] | Mapping[str, Any], first: Sequence[str] = ()) -> str:
    alike = difflib.get_close_matches(word, list(known), n=_NUM_SUGGESTIONS)
    nearest = list(dict.fromkeys([*first, *alike]))[:_NUM_SUGGESTIONS]
    return f" (nearest: {', '.join(nearest)})" if nearest else ""


def _keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted keys of values, groups left out."""
    for name, field in model.model_fields.items():
        if (group := inner_model(field.annotation)) is not None:
            yield from _keys(group, f"{prefix}{name}.")
        else:
            yield prefix + name


def _leaves(tree: Tree, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, dict) and value:
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value
