"""The pages as people find things on them: by role and name."""

from __future__ import annotations

from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import KEY


def badge(page: Page) -> Locator:
    """The connection's state."""
    return page.get_by_role("banner").get_by_role("status")


def expect_connected(page: Page) -> None:
    expect(badge(page)).to_have_text("Connected")


def card(page: Page, conversation_id: str) -> Locator:
    """On the live wall."""
    return page.get_by_role("article", name=conversation_id)


def cards(page: Page) -> Locator:
    return page.locator("article.card")


def opened(page: Page) -> Locator:
    """The conversation that streams beside the wall."""
    return page.get_by_role("region", name="Opened conversation")


def turns(within: Page | Locator) -> Locator:
    return within.locator(".turn")


def log_in(page: Page, key: str = KEY) -> None:
    page.get_by_label("API key").fill(key)
    page.get_by_role("button", name="Log in").click()
