"""Everything by keyboard alone."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.chromium import Watched
from tests.browser.pages import card, opened, turns
from tests.browser.small_dashboard import Dashboard

MOST_TABS = 60
SHOWS_FOCUS = """() => {
  const focused = document.activeElement;
  const styles = [getComputedStyle(focused), getComputedStyle(focused, "::after")];
  if (focused.closest("article")) styles.push(getComputedStyle(focused.closest("article")));
  return styles.some((style) => style.outlineStyle !== "none");
}"""
"""Whether what has the focus has an outline, or the card that it stands for."""


@pytest.fixture(scope="module")
def run_id(small: Dashboard) -> str:
    run_id = small.finished(12)
    small.calm_down()
    return run_id


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until what has the focus matches, and see that it shows that it has."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate("selector => document.activeElement.matches(selector)", selector):
            assert page.evaluate(SHOWS_FOCUS), f"{selector} does not show its focus"
            return
    raise AssertionError(f"{MOST_TABS} times Tab do not lead to {selector}")


def test_the_first_stop_skips_to_the_content(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()


def test_a_run_from_the_list_to_a_record(tab: Watched, run_id: str) -> None:
    page = tab.open("/runs")
    expect(page.locator(f"main a[href*='{run_id}']").first).to_be_visible()
    tab_to(page, f"main a[href='/runs/{run_id}']")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(f"/runs/{run_id}$"))
    expect(page.get_by_role("link", name="Browse conversations")).to_be_visible()
    tab_to(page, f"a[href^='/runs/{run_id}/conversations']")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/conversations"))
    expect(page.locator("main .record").first).to_be_visible()
    tab_to(page, ".record a")
    page.keyboard.press("Enter")
    expect(turns(page).first).to_be_visible()


def test_a_card_opens_and_closes(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(1, latency_s=5.0)
    conversation_id = dashboard.in_flight(run_id)
    page = tab.open("/")
    expect(card(page, conversation_id)).to_be_visible()
    tab_to(page, "article.card a, article.card button")
    page.keyboard.press("Enter")
    expect(opened(page)).to_be_visible()
    page.keyboard.press("Escape")
    expect(opened(page)).to_be_hidden()


def test_the_theme_is_kept(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs")
    before = page.evaluate("getComputedStyle(document.body).color")
    tab_to(page, "#theme")
    page.keyboard.press("Enter")
    page.wait_for_function("before => getComputedStyle(document.body).color !== before", arg=before)
    changed = page.evaluate("getComputedStyle(document.body).color")
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).color") == changed


def test_marking_by_letters(tab: Watched, run_id: str, dashboard: Dashboard) -> None:
    page = tab.open(f"/conversations/{run_id}-00000003")
    bad = page.get_by_role("button", name="Bad", exact=True)
    expect(bad).to_be_enabled()
    page.keyboard.press("b")
    expect(bad).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_role("region", name="Mark").get_by_text("Marked bad")).to_be_visible()
    assert dashboard.conversation(f"{run_id}-00000003")["mark"]["mark"] == "bad"
    page.get_by_label("Note").focus()
    page.keyboard.type("bg")
    expect(page.get_by_label("Note")).to_have_value("bg")
    expect(bad).to_have_attribute("aria-pressed", "true")
