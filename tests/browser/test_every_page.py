"""What holds on every page: a heading, a title, no error, no serious fault of accessibility, no sideways scrolling."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest
from playwright.sync_api import Page, expect

from tests.browser.accessibility import serious_violations
from tests.browser.chromium import NARROW, WIDE, Theme
from tests.browser.conftest import Locked, Tabs
from tests.browser.pages import log_in
from tests.browser.small_dashboard import Dashboard

LOOKS = [pytest.param("light", WIDE, id="light-wide"), pytest.param("dark", NARROW, id="dark-narrow")]
LONG = "word " * 120 + "a-word-without-any-place-to-break-" * 12


@dataclass(frozen=True)
class Shown:
    """A page with something on it; `sign` is what it has once that is there."""

    path: str
    sign: str


PAGES = {
    "live": Shown("/", "article.card .turn"),
    "live, one opened": Shown("/?conversation={flying}", "section[aria-label='Opened conversation'] .turn"),
    "runs": Shown("/runs", "main a[href*='{run}']"),
    "new run": Shown("/runs/new", "main form"),
    "run going": Shown("/runs/{going}", "main .badge"),
    "run": Shown("/runs/{run}", "main .badge"),
    "conversations": Shown("/runs/{run}/conversations", "main a[href*='{run}-']"),
    "conversations, searched": Shown("/runs/{run}/conversations?q=word", "main mark"),
    "conversations, none found": Shown("/runs/{run}/conversations?q=nobody-says-this", "main .empty:visible"),
    "conversation": Shown("/conversations/{run}-00000000", "main .turn"),
    "conversation in flight": Shown("/conversations/{flying}", "main .turn"),
    "talk": Shown("/talk", "main textarea"),
    "saved talks": Shown("/talks", "main h1"),
}

EMPTY = {
    "live": "/",
    "runs": "/runs",
    "saved talks": "/talks",
}


@pytest.fixture(scope="module")
def run_id(small: Dashboard) -> str:
    """A run with a dataset, of texts that need room."""
    small.say(["A short one.", LONG, "| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nprint('x' * 300)\n```\n- word"])
    run_id = small.finished(12, name="Of long words")
    small.calm_down()
    return run_id


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("name", PAGES)
def test_page(tabs: Tabs, dashboard: Dashboard, run_id: str, name: str, theme: Theme, width: int) -> None:
    going = dashboard.going(latency_s=0.4)
    at = {"run": run_id, "going": going, "flying": dashboard.in_flight(going)}
    page = tabs(theme=theme, width=width).open(PAGES[name].path.format(**at))
    expect(page.locator(PAGES[name].sign.format(**at)).first).to_be_visible()
    check_page(page)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_login_page(tabs: Tabs, locked: Locked, theme: Theme, width: int) -> None:
    page = tabs(locked.url, theme=theme, width=width).open("/login")
    expect(page.get_by_label("API key")).to_be_visible()
    check_page(page, navigation=False)


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_page_says_what_to_do_next(tabs: Tabs, locked: Locked, name: str, theme: Theme, width: int) -> None:
    page = tabs(locked.url, theme=theme, width=width).open(EMPTY[name])
    log_in(page)
    empty = page.locator("main .empty:visible").first
    expect(empty.get_by_role("link").or_(empty.get_by_role("button")).first).to_be_visible()
    check_page(page)


def test_a_page_that_is_not_there(tabs: Tabs, dashboard: Dashboard) -> None:
    tab = tabs()
    for path in ("/runs/run-none", "/runs/run-none/conversations", "/conversations/run-none-00000000"):
        page = tab.open(path)
        expect(page.locator("main .error:visible, main [role=alert]:visible").first).to_be_visible()
        expect(page.locator("main h1")).to_have_count(1)
        page.close()
    tab.forgive("status of 404")


def check_page(page: Page, *, navigation: bool = True) -> None:
    expect(page).to_have_title(re.compile(r"\S.*PlatoLM$"))
    expect(page.locator("h1")).to_have_count(1)
    if navigation:
        links = page.get_by_role("navigation", name="Main").get_by_role("link")
        assert [link.strip() for link in links.all_inner_texts()] == ["Live", "Runs", "Talk"]
    assert sideways(page) == []
    assert serious_violations(page) == []


def sideways(page: Page) -> list[str]:
    """Elements that reach beyond the window's right edge, where the whole page scrolls sideways."""
    beyond: list[str] = page.evaluate(
        """() => document.documentElement.scrollWidth <= innerWidth ? [] :
          [...document.body.querySelectorAll("*")]
            .filter((element) => element.getBoundingClientRect().right > innerWidth + 1)
            .map((element) => element.outerHTML.slice(0, 120))"""
    )
    return beyond
