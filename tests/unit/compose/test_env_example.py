"""`.env.example` and the Compose files know the same variables, with the same defaults."""

from __future__ import annotations

import re

from tests.unit.compose.stack_files import COMPOSE_FILES, REPOSITORY, VARIABLE, compose_text

OF_COMPOSE_ITSELF = {"COMPOSE_FILE", "COMPOSE_PROFILES"}
_ASSIGNMENT = re.compile(r"#([A-Z_]+)=(.*)")


def used() -> dict[str, set[str]]:
    """The variables of the Compose files, each with the defaults that they give it."""
    found: dict[str, set[str]] = {}
    for name in COMPOSE_FILES:
        for variable, default in VARIABLE.findall(compose_text(name)):
            found.setdefault(variable, set()).add(default)
    return found


def example_lines() -> list[str]:
    return (REPOSITORY / ".env.example").read_text(encoding="utf-8").splitlines()


def documented() -> dict[str, str]:
    found = [match for line in example_lines() if (match := _ASSIGNMENT.fullmatch(line))]
    names = [match[1] for match in found]
    assert len(names) == len(set(names))
    return {match[1]: match[2] for match in found}


def test_every_variable_is_documented_and_every_documented_one_is_used() -> None:
    assert set(documented()) - OF_COMPOSE_ITSELF == set(used())


def test_the_defaults_are_those_of_the_compose_files() -> None:
    wrong = {
        name: value
        for name, value in documented().items()
        if name not in OF_COMPOSE_ITSELF and value not in used()[name]
    }
    assert wrong == {}


def test_one_default_a_variable_but_for_the_memory_of_engines() -> None:
    several = {name: sorted(defaults) for name, defaults in used().items() if len(defaults) > 1}
    assert several == {"SIMULATOR_MEMORY": ["32g", "4g"], "RESPONDENT_MEMORY": ["32g", "4g"]}


def test_every_variable_has_a_text() -> None:
    lines = example_lines()
    for position, line in enumerate(lines):
        if _ASSIGNMENT.fullmatch(line):
            above = next(before for before in reversed(lines[:position]) if not _ASSIGNMENT.fullmatch(before))
            assert re.match(r"# \S.+[.:]$", above), line


def test_the_file_can_be_used_as_it_is() -> None:
    assert [line for line in example_lines() if line and not line.startswith("#")] == []
