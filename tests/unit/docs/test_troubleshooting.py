"""Every message that docs/troubleshooting.md quotes is still one of the code's."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from tests.unit.docs.documents import DOCS, REPOSITORY

PAGE = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
QUOTED = re.findall(r"^### `+ ?(.*?) ?`+$", PAGE, re.MULTILINE)
HOLE = "…"
"""What stands in a quotation where the message has a name or a number."""


@cache
def messages() -> tuple[str, ...]:
    """Every text in the code, with a hole for each value that is put in."""
    paths = [path for folder in ("platolm", "services", "training", "curation") for path in folder_of(folder)]
    found = {text for path in paths for text in texts_of(path)}
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return (*sorted(found), *makefile.splitlines())


def folder_of(name: str) -> list[Path]:
    return sorted((REPOSITORY / name).rglob("*.py"))


def texts_of(path: Path) -> list[str]:
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [text for node in nodes if (text := text_of(node)) is not None]


def text_of(node: ast.AST) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else HOLE for part in node.values)
    return None


@pytest.mark.parametrize("quoted", QUOTED)
def test_the_message_is_in_the_code(quoted: str) -> None:
    assert is_a_message(quoted)


def is_a_message(quoted: str) -> bool:
    """Whether a text of the code has the quotation's parts in their order; a hole stands for anything."""
    form = re.compile(".*".join(re.escape(part) for part in quoted.split(HOLE)))
    return any(form.search(message) for message in messages())


def test_there_are_some_and_other_words_are_not_in_the_code() -> None:
    assert len(QUOTED) >= 20
    assert [quoted for quoted in QUOTED if len(quoted.replace(HOLE, "")) < 8] == []
    assert not is_a_message("the moon is in the way of …")
    assert not is_a_message("give another --out … is not empty")


def test_values_are_holes() -> None:
    (line,) = ast.parse('f"port {port} did not become free within {timeout_s:g} s" " at all"').body
    assert isinstance(line, ast.Expr)
    assert text_of(line.value) == "port … did not become free within … s at all"
