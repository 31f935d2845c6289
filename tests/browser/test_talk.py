"""Talking by the browser: on either side, both watched, stopped, made again, edited into a branch, saved."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import Watched
from tests.browser.pages import turns
from tests.browser.small_dashboard import Dashboard

ANSWERS = [
    f"The {thing} is {how}, as {who} said."
    for thing in ("boat", "tea", "song", "train")
    for how in ("old", "far")
    for who in ("she", "he", "nobody", "my aunt")
]
LONG = " ".join(f"word{number}" for number in range(60))


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def expect_turns(page: Page, count: int) -> Locator:
    """So many complete ones."""
    expect(turns(page)).to_have_count(count)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    expect(page.locator(".turn--partial")).to_have_count(0)
    return turns(page)


def choose(page: Page, mode: str) -> None:
    page.locator("label").filter(has_text=mode).click()
    expect(page.get_by_role("radio", name=mode)).to_be_checked()


@pytest.fixture
def page(tab: Watched, dashboard: Dashboard) -> Page:
    dashboard.say(ANSWERS)
    return tab.open("/talk")


def test_asking_the_respondent(page: Page) -> None:
    choose(page, "Ask the respondent")
    send(page, "Where is the boat?")
    shown = expect_turns(page, 2)
    expect(shown.nth(0)).to_contain_text("Where is the boat?")
    expect(shown.nth(1)).to_have_attribute("aria-label", "Turn 2, assistant")
    expect(shown.nth(1)).to_contain_text(re.compile("|".join(map(re.escape, ANSWERS))))
    page.get_by_label("Message").fill("And the song?")
    page.get_by_label("Message").press("Enter")
    expect_turns(page, 4)


def test_being_questioned(page: Page) -> None:
    choose(page, "Be questioned")
    page.get_by_role("button", name="Start").click()
    shown = expect_turns(page, 1)
    expect(shown.nth(0)).to_have_attribute("aria-label", "Turn 1, user")
    send(page, "I answer as well as I can.")
    shown = expect_turns(page, 3)
    expect(shown.nth(1)).to_contain_text("as well as I can")
    expect(shown.nth(2)).to_have_attribute("aria-label", "Turn 3, user")


def test_watching_both_and_stepping_in(page: Page, dashboard: Dashboard) -> None:
    dashboard.say(ANSWERS, token_latency_s=0.02)
    choose(page, "Watch both")
    page.get_by_label("Message").fill("How was the voyage?")
    page.get_by_role("button", name="Start").click()
    expect(turns(page).nth(2)).to_be_visible()
    page.get_by_role("button", name="Step in").click()
    expect(page.get_by_label("Message")).to_be_focused()
    before = turns(page).count()
    send(page, "Let me say this myself.")
    expect(turns(page).nth(before)).to_contain_text("Let me say this myself.")
    expect(turns(page).nth(before + 1)).to_be_visible()
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()


def test_stopping_keeps_what_was_said(page: Page, dashboard: Dashboard) -> None:
    dashboard.say([LONG], token_latency_s=0.02)
    send(page, "Tell me everything.")
    expect(turns(page).nth(1)).to_contain_text("word3")
    page.get_by_role("button", name="Stop").click()
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    said = turns(page).nth(1)
    expect(said).to_contain_text("word3")
    expect(said).not_to_contain_text("word59")


def test_regenerating_keeps_both_versions(page: Page, dashboard: Dashboard) -> None:
    send(page, "Where is the tea?")
    first = expect_turns(page, 2).nth(1).locator(".turn__text").inner_text()
    dashboard.say(["Another answer altogether."])
    page.get_by_role("button", name="Regenerate").click()
    expect(turns(page).nth(1)).to_contain_text("Another answer altogether.")
    page.get_by_role("button", name=re.compile("^Earlier version of turn 2")).click()
    expect(turns(page).nth(1)).to_contain_text(first)


def test_editing_a_turn_branches(page: Page) -> None:
    send(page, "Where is the tea?")
    expect_turns(page, 2)
    send(page, "And the song?")
    expect_turns(page, 4)
    page.get_by_role("button", name=re.compile("^Edit turn 1")).click()
    page.get_by_label("Edited text").fill("Where is the coffee?")
    page.get_by_role("button", name="Branch").click()
    shown = expect_turns(page, 2)
    expect(shown.nth(0)).to_contain_text("Where is the coffee?")
    page.get_by_role("button", name=re.compile("^Earlier version of turn 1")).click()
    expect(expect_turns(page, 4).nth(0)).to_contain_text("Where is the tea?")


def test_saving(page: Page, dashboard: Dashboard, tab: Watched) -> None:
    send(page, "Where is the train?")
    answer = expect_turns(page, 2).nth(1).locator(".turn__text").inner_text()
    page.get_by_label("Title").fill("About trains")
    page.get_by_label("Mark").select_option("good")
    page.get_by_role("button", name="Save", exact=True).click()
    link = page.get_by_role("link", name=re.compile("^talks-"))
    expect(link).to_be_visible()
    conversation_id = link.inner_text()
    said = saved(dashboard)[conversation_id]
    assert [turn["value"] for turn in said["conversations"]] == ["Where is the train?", answer]
    link.click()
    expect(turns(page)).to_have_count(2)
    expect(page.get_by_role("button", name="Good", exact=True)).to_have_attribute("aria-pressed", "true")
    page.goto(f"{tab.url}/talks")
    expect(page.get_by_role("link", name=re.compile("About trains")).first).to_be_visible()


def test_an_engine_that_fails_is_said_and_can_be_asked_again(page: Page, dashboard: Dashboard, tab: Watched) -> None:
    dashboard.respondent.failures = 5
    send(page, "Where is the boat?")
    expect(page.locator("main [role=alert]:visible")).to_contain_text(re.compile(r"\S"))
    dashboard.respondent.failures = 0
    page.get_by_role("button", name="Try again").click()
    expect_turns(page, 2)
    tab.forgive("status of 5")


def test_a_talk_outlives_a_reload(page: Page) -> None:
    send(page, "Where is the boat?")
    expect_turns(page, 2)
    page.get_by_label("Message").fill("A draft")
    page.wait_for_function("() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }]).includes('A draft')")
    page.reload()
    expect(turns(page)).to_have_count(2)
    expect(page.get_by_label("Message")).to_have_value("A draft")


def saved(dashboard: Dashboard) -> dict[str, dict[str, Any]]:
    """By id, as the dataset of talks holds them."""
    lines = httpx.get(f"{dashboard.url}/v1/talks/dataset", timeout=30).raise_for_status().content
    return {record["id"]: record for record in map(json.loads, lines.splitlines())}
