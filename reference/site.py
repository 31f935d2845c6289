"""Hooks of the documentation's site: pages from outside docs/, whole folders in its navigation, drawings.

MkDocs calls them by their names (`hooks` in mkdocs.yml).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

OUTSIDE = {
    "CHANGELOG.md": "project/changelog.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "models/demo/README.md": "project/demo-pair.md",
    "models/demo/adapters/README.md": "project/demo-adapters.md",
    ".env.example": "assets/env.example.txt",
}
"""Files of the repository that the site shows too, and where."""

DOCS = "docs"
_LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?(?=\))")
_DRAWING = re.compile(r'<img alt="([^"]*)" src="[^"]*?(diagrams/[\w-]+\.svg)"[^>]*>')


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put every file of a folder in the place of a navigation entry that ends with a slash, its README first."""
    config.nav = _expanded(config.nav, Path(config.docs_dir))
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies outside docs/."""
    root = Path(config.docs_dir).parent
    for source, target in OUTSIDE.items():
        files.append(File.generated(config, target, abs_src_path=str(root / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links between docs/ and the rest of the repository, which are right for a reader of the files, to pages."""
    return with_links(markdown, page.file.src_uri)


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put the drawings themselves into the page, so that they take its colours."""
    return _DRAWING.sub(lambda found: drawing(Path(config.docs_dir) / found[2], found[1]), html)


def with_links(markdown: str, src_uri: str) -> str:
    """A page's text with the links that its place on the site asks for.

    Args:
        markdown: as it stands in the repository.
        src_uri: the page's path on the site.
    """
    sources = {target: source for source, target in OUTSIDE.items()}
    folder = posixpath.dirname(sources.get(src_uri, f"{DOCS}/{src_uri}"))

    def on_site(found: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join(folder, found[1]))
        target = OUTSIDE.get(path, path.removeprefix(f"{DOCS}/"))
        return posixpath.relpath(target, posixpath.dirname(src_uri) or ".") + (found[2] or "")

    return _LINK.sub(on_site, markdown)


def drawing(path: Path, said: str) -> str:
    """An SVG file as an element that tells what it shows."""
    svg = path.read_text(encoding="utf-8").strip()
    svg = svg.replace("<svg ", f'<svg class="drawing" role="img" aria-label="{said}" ', 1)
    return f'<span class="frame">{svg}</span>'


def _expanded(entries: Any, docs: Path) -> Any:
    if isinstance(entries, list):
        return [_expanded(entry, docs) for entry in entries]
    if isinstance(entries, dict):
        return {title: _expanded(entry, docs) for title, entry in entries.items()}
    if isinstance(entries, str) and entries.endswith("/"):
        names = sorted(path.name for path in (docs / entries).glob("*.md"))
        return [entries + name for name in sorted(names, key=lambda name: name != "README.md")]
    return entries
