"""What people read, and the code in it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[3]
DOCS = REPOSITORY / "docs"
GENERATED_HELP = "docs/cli.md"
"""Written by typer from the command itself, in a form of its own."""

_FENCE = re.compile(r" *```")
_INLINE = re.compile(r"`([^`\n]+)`")
_PROMPT = re.compile(r"^\$ ")


@dataclass(frozen=True)
class Line:
    """A line of code in a document; of a command over several lines, the whole."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


def documents() -> dict[str, str]:
    """Every page for readers, by its path in the repository."""
    paths = [*sorted(DOCS.rglob("*.md")), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    return {str(path.relative_to(REPOSITORY)): path.read_text(encoding="utf-8") for path in paths}


def code_lines() -> Iterator[Line]:
    """Each line of code in blocks, fenced or indented, and each piece of code in a sentence."""
    for name, text in documents().items():
        if name == GENERATED_HELP:
            continue
        blocks, prose = _parted(text)
        yield from (Line(name, line) for line in _joined(blocks))
        yield from (Line(name, code) for code in _INLINE.findall("\n".join(prose)))


def _parted(text: str) -> tuple[list[str], list[str]]:
    """Lines in code blocks, and all others."""
    blocks: list[str] = []
    prose: list[str] = []
    is_fenced = False
    for line in text.split("\n"):
        if _FENCE.match(line):
            is_fenced = not is_fenced
        elif is_fenced or line.startswith("    "):
            blocks.append(_PROMPT.sub("", line.strip()))
        else:
            prose.append(line)
    return blocks, prose


def _joined(lines: list[str]) -> Iterator[str]:
    """Commands whose lines end with a backslash, in one line."""
    waiting = ""
    for line in lines:
        if line.endswith("\\"):
            waiting += line[:-1]
        else:
            yield waiting + line
            waiting = ""
