"""A lost connection is shown, and heals by itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from tests.browser.chromium import Watched
from tests.browser.pages import badge, card, expect_connected, turns
from tests.browser.small_dashboard import Dashboard

LOST = ("ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE_CHUNKED_ENCODING", "ERR_CONNECTION_RESET", "ERR_EMPTY_RESPONSE",
        "status of 503")  # fmt: skip
"""What the browser itself writes to the console when a server goes away."""


@pytest.fixture
def heals(dashboard: Dashboard) -> Iterator[Dashboard]:
    """Whatever the test does to them, API and Redis run again afterwards."""
    yield dashboard
    if dashboard.api_process.popen is None:
        dashboard.api_process.start()


def test_the_live_wall_goes_on_after_the_api_was_killed(tab: Watched, heals: Dashboard) -> None:
    run_id = heals.going(latency_s=0.5)
    page = tab.open("/")
    expect_connected(page)
    heals.api_process.kill()
    expect(badge(page)).to_have_text("Reconnecting")
    heals.api_process.start()
    expect_connected(page)
    grown = card(page, heals.in_flight(run_id))
    expect(turns(grown).first).to_be_visible()
    before = turns(grown).last.inner_text()
    expect(turns(grown).last).not_to_have_text(before)
    tab.forgive(*LOST)


def test_a_conversation_goes_on_after_the_api_was_killed(tab: Watched, heals: Dashboard) -> None:
    run_id = heals.going(latency_s=1.0)
    conversation_id = heals.in_flight(run_id)
    page = tab.open(f"/conversations/{conversation_id}")
    expect(turns(page).first).to_be_visible()
    heals.api_process.kill()
    expect(badge(page)).to_have_text("Reconnecting")
    heals.api_process.start()
    expect(page.locator("main .badge--turn_limit")).to_be_visible()
    said = [turn["content"] for turn in heals.conversation(conversation_id)["turns"]]
    expect(turns(page)).to_have_count(len(said))
    for number, text in enumerate(said):
        expect(turns(page).nth(number)).to_contain_text(text)
    tab.forgive(*LOST)


def test_what_a_button_asks_of_a_lost_api_is_said(tab: Watched, heals: Dashboard) -> None:
    run_id = heals.going(latency_s=1.0)
    page = tab.open(f"/runs/{run_id}")
    pause = page.get_by_role("button", name="Pause")
    expect(pause).to_be_enabled()
    heals.api_process.kill()
    pause.click()
    expect(page.get_by_role("alert").filter(has_text=re.compile(r"\S")).first).to_be_visible()
    heals.api_process.start()
    expect(pause).to_be_enabled()
    pause.click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert heals.api.run(run_id)["state"] == "paused"
    tab.forgive(*LOST)
