"""A run's spec from a file in YAML or JSON: whatever is wrong with it is said at once, with path and line."""

from __future__ import annotations

import difflib
import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from platolm.errors import SpecError, SpecProblem
from platolm.plain_yaml import Place, PlainYamlError, read_yaml
from platolm.sampling import Sampling
from platolm.spec import RunSpec

SEEDS_KEY = "seeds"
"""What a spec file has besides the fields of `RunSpec`: a seed file, by its path from the spec file's folder."""

MAX_SPEC_BYTES = 4 * 2**20
_MAX_SHOWN_VALUE = 60
_MAX_SUGGESTIONS = 3

Tree = dict[str, Any]
"""A spec, or part of one, as plain data: groups as dicts."""

_NEEDED = {
    "int_type": "a whole number is needed, written without a point, an exponent or quotes",
    "float_type": "a number is needed, without quotes",
    "bool_type": "true or false is needed",
    "string_type": "a text is needed; put it in quotes",
    "list_type": "a list is needed",
    "model_type": "a group of fields is needed",
}
_NEEDED_BY_FIELD = {
    "endpoints": "an http:// or https:// address is needed",
    "url": "a URL with its scheme is needed, such as file:///data or s3://bucket/folder",
    "stop_phrases": "it is blank",
}


@dataclass(frozen=True)
class SpecDraft:
    """A spec that is being put together: what is given so far, and where it stands in its file.

    `source` names it in errors; `seeds` is the seed file that it names.
    """

    given: Tree = field(default_factory=dict)
    source: str = "the run's options"
    seeds: Path | None = None
    lines: Mapping[Place, int] = field(default_factory=dict)

    def has(self, path: str) -> bool:
        """Whether the field of this dotted path is given, and not null."""
        tree: Any = self.given
        for part in path.split("."):
            tree = tree.get(part) if isinstance(tree, dict) else None
        return tree is not None

    def with_values(self, values: Mapping[str, Any]) -> SpecDraft:
        """The draft with these fields (by their dotted paths) instead of what it has there."""
        given: Tree = self.given
        lines = dict(self.lines)
        for path, value in values.items():
            parts = path.split(".")
            given = _put(given, parts, value)
            lines.pop(tuple(parts), None)
        return replace(self, given=given, lines=lines)

    def spec(self) -> RunSpec:
        """The whole spec; a field that is not given, or a group that is empty, has its default.

        Types are taken strictly: nothing becomes a number that was not written as one.

        Raises:
            SpecError: carries everything that is wrong.
        """
        content = json.dumps(_filled(_defaults(), self.given), default=str)
        try:
            return RunSpec.model_validate_json(content, strict=True)
        except ValidationError as error:
            problems = [self._problem(detail) for detail in error.errors()]
            raise SpecError(self.source, sorted(problems, key=lambda problem: problem.line or 0)) from error

    def _problem(self, detail: ErrorDetails) -> SpecProblem:
        place = tuple(str(part) for part in detail["loc"])
        return SpecProblem(_dotted(place), _reason(detail), self.lines.get(place))


def read_spec_file(path: str | Path) -> SpecDraft:
    """What a spec file gives: JSON where its name ends in `.json`, else YAML. Its values are checked by `spec`.

    Raises:
        SpecError: it cannot be read, is too large, is broken, gives a key twice, or is no group of fields.
    """
    path = Path(path)
    text = _text(path)
    try:
        tree, places = _read_json(text) if path.suffix == ".json" else read_yaml(text)
    except PlainYamlError as error:
        raise _spec_error(path, error.reason, error.line) from error
    if tree is None:
        raise _spec_error(path, "it is empty; `platolm run --show` prints a whole spec")
    if not isinstance(tree, dict):
        raise _spec_error(path, f"a spec is a group of fields (name: value), not {type(tree).__name__}", 1)
    if repeated := list(_repeated(places)):
        raise SpecError(str(path), repeated)
    lines = dict(places)
    seeds = _seeds_path(path, tree.pop(SEEDS_KEY, None), lines.get((SEEDS_KEY,)))
    return SpecDraft(given=tree, source=str(path), seeds=seeds, lines=lines)


def inner_group(annotation: Any) -> type[BaseModel] | None:
    """The group that a field of this type holds, or may hold instead of null; None for a value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            return kind
    return None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SPEC_BYTES + 1)
    except OSError as error:
        raise _spec_error(path, f"it cannot be read ({error.strerror or error})") from error
    if len(content) > MAX_SPEC_BYTES:
        limit = f"{MAX_SPEC_BYTES // 2**20} MiB"
        raise _spec_error(path, f"it is larger than {limit}; seeds go into a file of their own (seeds: FILE)")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise _spec_error(path, "it is not UTF-8 text", line) from error


def _read_json(text: str) -> tuple[Any, list[tuple[Place, int]]]:
    try:
        return json.loads(text, object_pairs_hook=_without_repetition), []
    except json.JSONDecodeError as error:
        raise PlainYamlError(f"broken JSON: {error.msg}", error.lineno) from error
    except RecursionError as error:
        raise PlainYamlError("nested too deeply", None) from error
    except ValueError as error:
        raise PlainYamlError(str(error), None) from error


def _without_repetition(pairs: list[tuple[str, Any]]) -> Tree:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        keys = [key for key, _ in pairs]
        repeated = next(key for key in keys if keys.count(key) > 1)
        raise PlainYamlError(f"{repeated} is given twice", None)
    return tree


def _repeated(places: Sequence[tuple[Place, int]]) -> Iterator[SpecProblem]:
    lines = defaultdict(list)
    for place, line in places:
        lines[place].append(line)
    for place, found in lines.items():
        # What is below a repeated key repeats with it.
        if len(found) > 1 and len(lines.get(place[:-1], [])) < 2:
            yield SpecProblem(_dotted(place), f"given before, on line {found[0]}", found[1])


def _seeds_path(spec_path: Path, value: Any, line: int | None) -> Path | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip():
        raise SpecError(str(spec_path), [SpecProblem(SEEDS_KEY, "the path of a seed file is needed", line)])
    return spec_path.parent / value


def _spec_error(path: Path, reason: str, line: int | None = None) -> SpecError:
    return SpecError(str(path), [SpecProblem("", reason, line)])


def _defaults() -> Tree:
    """Every default, without the number of conversations, which has none; sampling is left to the sides' profiles."""
    defaults = RunSpec(conversations=1).model_dump(mode="json")
    del defaults["conversations"]
    for side in ("simulator", "respondent"):
        defaults[side]["sampling"] = Sampling().model_dump()
    return defaults


def _filled(defaults: Tree, given: Tree) -> Tree:
    filled = {**defaults, **given}
    for name, default in defaults.items():
        value = given.get(name, default)
        if isinstance(default, dict) and (value is None or isinstance(value, dict)):
            filled[name] = _filled(default, value or {})
    return filled


def _put(tree: Tree, parts: Sequence[str], value: Any) -> Tree:
    name, *rest = parts
    inner = tree.get(name)
    # A wrong value where a group belongs stays wrong, for `spec` to say so.
    if rest and inner is not None and not isinstance(inner, dict):
        return tree
    return {**tree, name: _put(inner or {}, rest, value) if rest else value}


def _dotted(place: Place) -> str:
    """`simulator.endpoints[0]`."""
    text = ""
    for part in place:
        text += f"[{part}]" if part.isdigit() else f".{part}" if text else part
    return text


def _reason(detail: ErrorDetails) -> str:
    """What is wrong, in words, with what was given where that helps."""
    kind, place = detail["type"], [str(part) for part in detail["loc"]]
    if kind == "extra_forbidden":
        return f"there is no such field{_suggestion(place)}"
    if kind == "missing":
        return "it has no default: give it"
    if kind == "json_invalid":
        return "its text is not Unicode (a lone surrogate)"
    if kind == "value_error":
        return detail["msg"].removeprefix("Value error, ")
    names = [part for part in place if not part.isdigit()]
    needed = _NEEDED_BY_FIELD.get(names[-1]) if kind == "string_pattern_mismatch" and names else _NEEDED.get(kind)
    return f"{needed or detail['msg']} (given: {_shown(detail['input'])})"


def _shown(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_SHOWN_VALUE else f"{text[:_MAX_SHOWN_VALUE]}…"


def _suggestion(place: Sequence[str]) -> str:
    """The fields that were meant, perhaps: alike in the same group, else of this or a like name anywhere."""
    *group, name = place
    paths = list(_field_paths(RunSpec))
    beside = [path for path in paths if path.split(".")[:-1] == group]
    names = {path: path.rpartition(".")[2] for path in paths}
    alike = difflib.get_close_matches(name, [names[path] for path in beside], n=_MAX_SUGGESTIONS)
    nearest = [".".join([*group, one]) for one in alike]
    if not nearest:
        alike = difflib.get_close_matches(name, sorted(set(names.values())), n=1)
        nearest = [path for path in paths if names[path] in alike][:_MAX_SUGGESTIONS]
    return f"; did you mean {' or '.join(nearest)}?" if nearest else f"; {_known_fields(group)}"


def _known_fields(group: Sequence[str]) -> str:
    model: type[BaseModel] | None = RunSpec
    for part in group:
        known = model.model_fields.get(part) if model is not None else None
        model = inner_group(known.annotation) if known is not None else None
    return f"known: {', '.join(model.model_fields)}" if model is not None else "see `platolm run --show`"


def _field_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    for name, info in model.model_fields.items():
        yield prefix + name
        if (group := inner_group(info.annotation)) is not None:
            yield from _field_paths(group, f"{prefix}{name}.")
