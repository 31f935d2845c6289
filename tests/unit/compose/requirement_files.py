"""Files of requirements, and what code and installed packages ask for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement

from tests.unit.compose.stack_files import REPOSITORY
from tests.unit.test_imports import imports_of, modules_below, name_of

OWN_PACKAGES = ("platolm", "services")


def canonical(name: str) -> str:
    """A distribution's name as PEP 503 compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_file(name: str) -> list[Requirement]:
    """The lines of a file in requirements/."""
    lines = (REPOSITORY / "requirements" / name).read_text(encoding="utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.startswith("#")]


def names_in(name: str) -> set[str]:
    """The distributions that a file in requirements/ names."""
    return {canonical(one.name) for one in requirement_file(name)}


def with_dependencies(requirements: Iterable[Requirement]) -> set[str]:
    """The distributions and all that they need here, by what is installed.

    Raises:
        PackageNotFoundError: one of them is not installed.
    """
    waiting, seen = list(requirements), set()
    while waiting:
        one = waiting.pop()
        key = (canonical(one.name), frozenset(one.extras))
        if key not in seen:
            seen.add(key)
            waiting += wanted_by(metadata.distribution(one.name), one.extras)
    return {name for name, _ in seen}


def wanted_by(distribution: metadata.Distribution, extras: Iterable[str] = ()) -> Iterator[Requirement]:
    """What a distribution asks for on this Python and system."""
    for line in distribution.requires or []:
        one = Requirement(line)
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield one


def modules_reached(roots: Iterable[str]) -> set[Path]:
    """Our modules that these import, directly or not, and they themselves."""
    paths = {name_of(path): path for package in OWN_PACKAGES for path in modules_below(package)}
    waiting, reached = list(roots), set[Path]()
    while waiting:
        path = paths.get(waiting.pop())
        if path is not None and path not in reached:
            reached.add(path)
            waiting += imports_of(path)
    return reached


def imported_packages(paths: Iterable[Path]) -> set[str]:
    """Names of other people's top-level packages that modules import, inside functions too."""
    found = {module.partition(".")[0] for path in paths for module in imports_of(path)}
    return found - set(OWN_PACKAGES) - set(sys.stdlib_module_names) - {"__future__", ""}
