"""Files that the operator writes in YAML or JSON: whatever is wrong with one is said at once, with path and line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from platolm.errors import SpecError, SpecProblem
from platolm.plain_yaml import Place, PlainYamlError, read_yaml

MAX_BYTES = 4 * 2**20

Model = TypeVar("Model", bound=BaseModel)


def read_model(path: str | Path, model: type[Model]) -> Model:
    """What a file describes.

    Raises:
        SpecError: it cannot be read, or is something else; carries everything that is wrong.
    """
    data, lines = _read(Path(path))
    try:
        return model.model_validate(data)
    except ValidationError as error:
        problems = [_problem(tuple(str(part) for part in one["loc"]), one["msg"], lines) for one in error.errors()]
        raise SpecError(str(path), problems) from error


def _read(path: Path) -> tuple[Any, Mapping[Place, int]]:
    try:
        content = path.read_bytes()
        if len(content) > MAX_BYTES:
            raise _file_error(path, f"it is larger than {MAX_BYTES >> 20} MiB")
        text = content.decode("utf-8-sig")
        if path.suffix == ".json":
            return json.loads(text), {}
        data, places = read_yaml(text)
    except OSError as error:
        raise _file_error(path, f"it cannot be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise _file_error(path, "it is not UTF-8 text") from error
    except json.JSONDecodeError as error:
        raise _file_error(path, f"broken JSON: {error.msg}", error.lineno) from error
    except PlainYamlError as error:
        raise _file_error(path, error.reason, error.line) from error
    repeated = [place for place, _ in places]
    twice = next((place for place in repeated if repeated.count(place) > 1), None)
    if twice is not None:
        raise SpecError(str(path), [_problem(twice, "it is given twice", dict(places))])
    return data, dict(places)


def _problem(place: Place, reason: str, lines: Mapping[Place, int]) -> SpecProblem:
    """With the line of the innermost group that stands in the file."""
    known = (lines[place[:end]] for end in range(len(place), 0, -1) if place[:end] in lines)
    return SpecProblem(".".join(place), reason.removeprefix("Value error, "), next(known, None))


def _file_error(path: Path, reason: str, line: int | None = None) -> SpecError:
    return SpecError(str(path), [SpecProblem("", reason, line)])
