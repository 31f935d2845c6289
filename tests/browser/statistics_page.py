"""The page that `platolm stats --html` writes, as a file that a browser opens, and pictures of it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from curation.stats.measuring import StatsSettings, beside, measure
from curation.stats.page import page_of
from tests.browser.chromium import NARROW, WIDE, Theme, watched
from tests.browser.pictures import small

LOOKS: tuple[tuple[Theme, int], ...] = (("light", WIDE), ("dark", WIDE), ("light", NARROW), ("dark", NARROW))
PAGE = "statistics.html"


def write_page(datasets: Sequence[Path], folder: Path, settings: StatsSettings | None = None) -> Path:
    """The page of the first dataset beside the others; gives its path."""
    first, *others = (measure([path], settings) for path in datasets)
    page = folder / PAGE
    page.write_text(page_of([beside(first, others), *(other.statistics for other in others)]), encoding="utf-8")
    return page


def write_records(path: Path, records: Sequence[Mapping[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(one) + "\n" for one in records), encoding="utf-8")
    return path


def picture_page(browser: Browser, page: Path, folder: Path) -> Iterator[Path]:
    """Write pictures of the whole page; gives the path of each as it is written."""
    for theme, width in LOOKS:
        with watched(browser, page.parent.as_uri(), width=width, theme=theme) as tab:
            opened = tab.open(f"/{page.name}")
            path = folder / f"{page.stem}-{theme}-{width}.png"
            path.write_bytes(small(opened.screenshot(full_page=True)))
            yield path
