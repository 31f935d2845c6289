"""The site is built without a warning, nothing in it leads nowhere, and nothing in it comes from elsewhere."""

from __future__ import annotations

import os
import posixpath
import re
import subprocess
import sys
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from reference.site import OUTSIDE, with_links
from tests.unit.docs.documents import DOCS, REPOSITORY

LOADING = {"script": "src", "link": "href", "img": "src", "source": "src", "iframe": "src", "object": "data"}
"""Elements that have a browser fetch something, and by which attribute."""
NOT_FOUND = "404.html"
"""It may be shown at any address, so its links are from the root."""


@dataclass
class Built(HTMLParser):
    """What a built page has and asks for."""

    anchors: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loaded: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attributes if value is not None}
        if name := given.get("id"):
            self.anchors.add(name)
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if tag in LOADING and LOADING[tag] in given:
            self.loaded.append(given[LOADING[tag]])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    build = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=REPOSITORY,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (build.returncode, build.stderr) == (0, "")
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Built]:
    found = {}
    for path in sorted(site.rglob("*.html")):
        found[path] = Built()
        found[path].feed(path.read_text(encoding="utf-8"))
    assert len(found) > 40
    return found


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, Built]) -> None:
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    anchors = {path.relative_to(site).as_posix(): page.anchors for path, page in pages.items()}
    asked = {
        (path.relative_to(site).as_posix(), link)
        for path, page in pages.items()
        for link in (*page.links, *page.loaded)
        if path.name != NOT_FOUND
    }
    assert len(asked) > 1000
    assert sorted(one for one in asked if leads_nowhere(*one, files, anchors)) == []


def leads_nowhere(page: str, link: str, files: Set[str], anchors: Mapping[str, Set[str]]) -> bool:
    """Whether a link within the site leads to no file, or to no place in it. Paths are from the site's root."""
    parts = urlsplit(link)
    if parts.scheme or parts.netloc:
        return False
    target = posixpath.normpath(posixpath.join(posixpath.dirname(page), unquote(parts.path))) if parts.path else page
    if target not in files:
        target = posixpath.normpath(f"{target}/index.html")
    return target not in files or bool(parts.fragment and unquote(parts.fragment) not in anchors[target])


@pytest.mark.parametrize(
    ("link", "is_broken"),
    [
        ("../b/", False), ("../b/#x", False), ("../b/#y", True), ("../c/", True), ("#here", False), ("#there", True),
        ("..", False), ("https://x.org/nowhere", False), ("../../elsewhere", True),
    ],
)  # fmt: skip
def test_a_broken_link_is_found(link: str, is_broken: bool) -> None:
    anchors = {"a/index.html": {"here"}, "b/index.html": {"x"}, "index.html": set[str]()}
    assert leads_nowhere("a/index.html", link, anchors.keys(), anchors) == is_broken


def test_nothing_is_loaded_from_elsewhere(site: Path, pages: dict[Path, Built]) -> None:
    loaded = [(path, link) for path, page in pages.items() for link in page.loaded]
    loaded += [
        (path, link)
        for path in site.rglob("*.css")
        for link in re.findall(r"""(?:url\(|@import )["']?([^"')]+)""", path.read_text(encoding="utf-8"))
    ]
    assert len(loaded) > 100
    elsewhere = [(str(path.relative_to(site)), link) for path, link in loaded if re.match(r"(?i)(https?:)?//", link)]
    assert elsewhere == []


def test_every_page_is_in_the_navigation(site: Path, pages: dict[Path, Built]) -> None:
    reached = {posixpath.normpath(urlsplit(link).path) for link in pages[site / "index.html"].links}
    folders = {path.parent.relative_to(site).as_posix() for path in pages if path.name != NOT_FOUND}
    assert sorted(folders - reached) == []


def test_search_has_every_page(site: Path) -> None:
    index = (site / "search" / "search_index.json").read_text(encoding="utf-8")
    names = [path.stem for path in DOCS.glob("*.md") if path.stem != "index"]
    assert [name for name in names if f'"location":"{name}/"' not in index] == []


def test_drawings_are_part_of_their_pages(site: Path) -> None:
    for path in sorted((DOCS / "diagrams").glob("*.svg")):
        used = [page for page in DOCS.glob("*.md") if f"diagrams/{path.name}" in page.read_text(encoding="utf-8")]
        assert used, f"no page shows {path.name}"
        for page in used:
            html = (site / page.stem / "index.html").read_text(encoding="utf-8")
            assert '<svg class="drawing" role="img" aria-label="' in html


@pytest.mark.parametrize(
    ("page", "text", "expected"),
    [
        ("compose.md", "[a](../.env.example)", "[a](assets/env.example.txt)"),
        ("demo-models.md", "[a](../models/demo/README.md#limits)", "[a](project/demo-pair.md#limits)"),
        ("project/demo-adapters.md", "[a](../README.md)", "[a](demo-pair.md)"),
        ("adr/0006-demo-models-with-trl.md", "[a](../performance.md)", "[a](../performance.md)"),
        ("adr/README.md", "[a](0001-vllm-everywhere.md)", "[a](0001-vllm-everywhere.md)"),
        ("api.md", "[a](#keys) [b](https://x.org/y.md) [c](data.md#seeds)", None),
    ],
)
def test_links_of_the_repository_become_links_of_the_site(page: str, text: str, expected: str | None) -> None:
    assert with_links(text, page) == (expected or text)


def test_what_is_taken_from_outside_is_there() -> None:
    assert [source for source in OUTSIDE if not (REPOSITORY / source).is_file()] == []
