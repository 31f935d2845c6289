"""What is wrong with a request: everything, each with the way to it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel

from platolm.errors import PlatoLMError

MAX_PROBLEMS = 100
_MAX_TEXT = 300


class Problem(BaseModel):
    """One thing that is wrong with a request; `loc` is the way to it, from `body`, `path`, `query` or `header`."""

    loc: list[str | int]
    msg: str


class InvalidRequestError(PlatoLMError):
    """A request whose content is wrong; carries every problem."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(problems)  # and nothing else, so that it can be pickled
        self.problems = problems

    def __str__(self) -> str:
        return f"{len(self.problems)} problems in the request"


def problems_of(errors: Iterable[Mapping[str, Any]], *, root: tuple[str, ...] = ()) -> list[Problem]:
    """Pydantic's errors without the input that they complain of, each text cut to a line's length."""
    return [
        Problem(
            loc=[part if isinstance(part, int) else _cut(str(part)) for part in (*root, *error["loc"])],
            msg=_cut(error["msg"].removeprefix("Value error, ")),
        )
        for error, _ in zip(errors, range(MAX_PROBLEMS), strict=False)
    ]


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_TEXT else text[:_MAX_TEXT] + "…"
