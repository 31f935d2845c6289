"""Commands, targets, modules and variables that documents name exist."""

from __future__ import annotations

import importlib.util
import re
import shlex
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import typer
from pydantic_settings import BaseSettings

from platolm.cli.app import app
from reference.settings_page import PROCESSES, SECRETS_FOLDER, command_variables, variable_of
from tests.unit.docs.documents import REPOSITORY, Line, code_lines, documents

PLATOLM = re.compile(r"(?:^|docker compose (?:-\S+ \S+ )*run --rm (?:-\S+ )*cli |^\S*/bin/)platolm (?=\S)")
IN_CONTAINER = re.compile(r"docker compose (?:-\S+ \S+ )*run --rm (?:-\S+ )*cli (?=\S)")
OPERATOR = re.compile(r"^(\||\|\||&&|;|>|>>|2>&1|&)$")
PLACEHOLDER = re.compile(r"^(…|\.\.\.|[A-Z][A-Z0-9_]*|\[.*)$")
MODULE = re.compile(r"python3? -m ([\w.]+)")
VARIABLE = re.compile(r"\bPLATOLM_[A-Z0-9_]+\b(\*?)")


def commands() -> Iterator[tuple[Line, list[str]]]:
    """Each command line of `platolm`, and its words after that."""
    for line in code_lines():
        if found := IN_CONTAINER.search(line.text) or PLATOLM.search(line.text):
            yield line, words_of(line.text[found.end() :])


def words_of(text: str) -> list[str]:
    words = shlex.split(text, comments=True)
    ends = [position for position, word in enumerate(words) if OPERATOR.match(word)]
    return words[: ends[0]] if ends else words


@cache
def whole_command() -> Any:
    return typer.main.get_command(app)


def what_is_wrong(words: list[str]) -> str | None:
    """The first word of a command line that `platolm` does not know, as its commands' and options' names."""
    command = whole_command()
    for word in words:
        inner = getattr(command, "commands", None)
        if word.startswith("-") and not re.match(r"-\d", word):
            if word.partition("=")[0] not in options_of(command):
                return word
        elif inner is not None:
            if PLACEHOLDER.match(word):
                return None
            if word not in inner:
                return word
            command = inner[word]
    return None


def options_of(command: Any) -> set[str]:
    return {"--help"} | {name for one in command.params for name in (*one.opts, *one.secondary_opts)}


def test_every_command_of_platolm_exists_with_its_options() -> None:
    found = list(commands())
    assert len(found) > 100
    assert [f"{line}: {wrong}" for line, words in found if (wrong := what_is_wrong(words))] == []


@pytest.mark.parametrize(
    ("words", "wrong"),
    [
        (["run", "--conversations", "3"], None),
        (["run", "--conversation", "3"], "--conversation"),
        (["runs", "pause", "4f2a"], None),
        (["runs", "halt", "4f2a"], "halt"),
        (["walk"], "walk"),
        (["stats", "FILE", "--html=x"], None),
        (["run", "--from-turn", "-1"], None),
    ],
)
def test_what_is_wrong_is_found(words: list[str], wrong: str | None) -> None:
    assert what_is_wrong(words) == wrong


def test_every_target_of_make_exists_with_its_variables() -> None:
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z-]*):", makefile, re.MULTILINE))
    variables = set(re.findall(r"\$\((\w+)\)", makefile))
    found = [(line, words_of(line.text)) for line in code_lines() if re.match(r"make [a-zA-Z]", line.text)]
    assert len(found) > 10
    wrong = [
        f"{line}: {word}"
        for line, words in found
        for word in words[1:]
        if word.partition("=")[0] not in (variables if "=" in word else targets)
    ]
    assert wrong == []


def test_every_module_that_is_run_exists() -> None:
    found = [(line, name) for line in code_lines() for name in MODULE.findall(line.text) if not name.endswith(".NAME")]
    assert len(found) > 10
    assert [f"{line}: {name}" for line, name in found if importlib.util.find_spec(name) is None] == []


def known_variables() -> set[str]:
    """Settings of processes, options' variables, and what Compose files and test targets read."""
    settings = {variable_of(kind, field) for kind in PROCESSES for field in kind.model_fields}
    files = [*REPOSITORY.glob("docker-compose*.yml"), REPOSITORY / "Makefile"]
    read = {name for path in files for name in re.findall(r"PLATOLM_[A-Z0-9_]+", path.read_text(encoding="utf-8"))}
    return {SECRETS_FOLDER, *settings, *command_variables(), *read}


def test_every_variable_is_a_setting() -> None:
    known = known_variables()
    prefixes = {str(kind.model_config.get("env_prefix", "")) for kind in PROCESSES} - {""}
    named = [(name, found) for name, text in documents().items() for found in VARIABLE.finditer(text)]
    assert len(named) > 100
    wrong = [
        f"{where}: {found[0]}"
        for where, found in named
        if found[0].rstrip("*") not in known and not (found[0].endswith("_*") and found[0][:-1] in prefixes)
    ]
    assert sorted(set(wrong)) == []


def test_every_class_of_settings_is_described() -> None:
    def below(kind: type[BaseSettings]) -> Iterator[type[BaseSettings]]:
        for inner in kind.__subclasses__():
            yield inner
            yield from below(inner)

    ours = ("platolm.", "services.")
    found = {kind for kind in below(BaseSettings) if kind.__module__.startswith(ours) and kind.__name__[0] != "_"}
    bases = {base for kind in found for base in kind.__mro__[1:]}
    assert found - bases == set(PROCESSES)
