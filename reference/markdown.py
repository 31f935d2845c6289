"""Pieces of Markdown: tables, links to headings, text that means itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

WRITTEN_BY = "<!-- Written by `make docs`; changes made here are lost. -->"


def page(title: str, about: str, *sections: str) -> str:
    """A whole generated page."""
    return "\n\n".join([f"# {title}", WRITTEN_BY, about, *(section for section in sections if section)]) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, or nothing where there are no rows."""
    lines = [_row(row) for row in rows]
    return "\n".join([_row(head), "|" + "---|" * len(head), *lines]) if lines else ""


def code(text: str) -> str:
    return f"`{text}`" if text else ""


def anchor(heading: str) -> str:
    """What a heading is linked by, as MkDocs and GitHub make it of names without punctuation."""
    return re.sub(r"[^\w\s-]", "", heading).strip().lower().replace(" ", "-")


def one_line(text: str) -> str:
    """A docstring's or description's text in one line; what looks like HTML stays text."""
    joined = re.sub(r"\s+", " ", text).strip()
    parts = re.split(r"(`[^`]*`)", joined)
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in parts)


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(re.sub(r"(?<!\\)\|", r"\\|", cell) for cell in cells) + " |"
