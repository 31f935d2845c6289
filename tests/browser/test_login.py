"""The API's key at the door: asked for once, kept in a cookie that no script reads."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import KEY, Locked, Tabs
from tests.browser.pages import expect_connected, log_in


@pytest.mark.parametrize("path", ["/", "/runs", "/runs/new", "/talk?mode=watch"])
def test_a_page_without_a_session_asks_for_the_key_and_then_opens(tabs: Tabs, locked: Locked, path: str) -> None:
    page = tabs(locked.url).open(path)
    expect(page).to_have_url(re.compile(r"/login\?next="))
    log_in(page)
    expect(page).to_have_url(f"{locked.url}{path}")
    expect(page.get_by_role("navigation", name="Main")).to_be_visible()


def test_a_wrong_key_is_said(tabs: Tabs, locked: Locked) -> None:
    tab = tabs(locked.url)
    page = tab.open("/runs")
    log_in(page, "not-the-key-at-all")
    expect(page.get_by_role("alert")).to_contain_text("key")
    expect(page).to_have_title(re.compile("PlatoLM$"))
    assert tab.context.cookies() == []
    tab.forgive("status of 401")
    log_in(page, KEY)
    expect(page).to_have_url(f"{locked.url}/runs")


def test_the_cookie_is_out_of_scripts_reach(tabs: Tabs, locked: Locked) -> None:
    tab = tabs(locked.url)
    page = tab.open("/runs")
    log_in(page)
    expect(page).to_have_url(f"{locked.url}/runs")
    [cookie] = tab.context.cookies()
    assert (cookie["name"], cookie["httpOnly"], cookie["sameSite"]) == ("platolm_session", True, "Strict")
    assert KEY not in cookie["value"]
    assert page.evaluate("document.cookie") == ""


def test_logging_out(tabs: Tabs, locked: Locked) -> None:
    tab = tabs(locked.url)
    page = tab.open("/")
    log_in(page)
    expect_connected(page)
    page.get_by_role("button", name="Log out").click()
    expect(page).to_have_url(re.compile("/login"))
    assert tab.context.cookies() == []
    page.go_back()
    expect(page).to_have_url(re.compile("/login"))
    tab.forgive("status of 401", "net::ERR_ABORTED")


def test_a_session_that_ends_while_a_page_is_open(tabs: Tabs, locked: Locked) -> None:
    tab = tabs(locked.url)
    page = tab.open("/runs/new")
    log_in(page)
    expect(page).to_have_url(f"{locked.url}/runs/new")
    page.get_by_label("Conversations", exact=True).fill("3")
    tab.context.clear_cookies()
    page.get_by_role("button", name="Start run").click()
    expect(page).to_have_url(re.compile(r"/login\?next=%2Fruns%2Fnew"))
    tab.forgive("status of 401")
