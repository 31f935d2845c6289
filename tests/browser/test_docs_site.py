"""The documentation's site in a browser: it renders, its search finds, and it asks nobody else for anything."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.chromium import NARROW, WIDE, Theme, watched

REPOSITORY = Path(__file__).parents[2]
LOOKS = [pytest.param("light", WIDE, id="light-wide"), pytest.param("dark", NARROW, id="dark-narrow")]


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Tests print nothing."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its URL."""
    folder = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, check=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_pages_are_shown_and_found(browser: Browser, site: str, theme: Theme, width: int) -> None:
    with watched(browser, site, width=width, theme=theme) as tab:
        page = tab.open("/")
        expect(page.get_by_role("heading", level=1)).to_contain_text("PlatoLM Stack")
        if width == NARROW:
            page.locator("label[for=__search]").first.click()
        page.get_by_role("textbox", name="Search").press_sequentially("fencing token")
        found = page.locator(".md-search-result__item a").filter(has_text="Redis Streams directly").first
        expect(found).to_be_visible()
        found.click()
        expect(page.get_by_role("heading", level=1)).to_contain_text("Redis Streams directly")

        page.goto(f"{site}/masks/")
        expect(page.get_by_role("img", name="The same ids twice")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert tab.faults == []
