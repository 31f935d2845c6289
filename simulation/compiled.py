"""Functions that numba compiles; without it a million conversations would take hours."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import numba  # type: ignore[import-untyped]

_F = TypeVar("_F", bound=Callable[..., object])


def compiled(function: _F) -> _F:
    """The same function as machine code, kept on disk for the next process."""
    return cast("_F", numba.njit(cache=True)(function))
