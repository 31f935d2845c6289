"""A run's dataset in the browser: search, filters, paging, marks, against what the API's dataset holds."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, Route, expect

from tests.browser.chromium import Watched
from tests.browser.pages import turns
from tests.browser.small_dashboard import Dashboard

CONVERSATIONS = 130
PAGE = 50
PHRASES = [
    f"The {thing} is {how}." for thing in ("boat", "river", "garden") for how in ("old", "far", "in bloom", "mine")
]

NOTE_RECORDS = """() => {
  const note = () => {
    const shown = [...document.querySelectorAll(".record")].map((row) => row.dataset.id);
    window.platolmRecords = [...new Set([...(window.platolmRecords ?? []), ...shown])];
  };
  note();
  new MutationObserver(note).observe(document.querySelector("main"), { childList: true, subtree: true });
}"""
"""Every record that the page has shown, in the order of appearance: those that are far away it gives up."""


@pytest.fixture(scope="module")
def run_id(small: Dashboard) -> str:
    small.say([*PHRASES, "", "A rare word: Xylophone."])
    run_id = small.finished(CONVERSATIONS, endings={"max_turns": 4})
    small.calm_down()
    return run_id


@pytest.fixture(scope="module")
def records(small: Dashboard, run_id: str) -> list[dict[str, Any]]:
    return small.api.dataset(run_id)


def texts(record: dict[str, Any]) -> str:
    return "\n".join(turn["value"] for turn in record["conversations"])


def links(page: Page) -> Locator:
    return page.locator("main .record a.record__text")


def shown_ids(page: Page) -> list[str]:
    return [str(link.get_attribute("href")).rpartition("/")[2] for link in links(page).all()]


def test_searching(tab: Watched, run_id: str, records: list[dict[str, Any]]) -> None:
    wanted = [record["id"] for record in records if "xylophone" in texts(record).lower()]
    assert 0 < len(wanted) < 50
    page = tab.open(f"/runs/{run_id}/conversations")
    expect(links(page).first).to_be_visible()
    page.get_by_role("searchbox", name="Search").fill("xyloPHONE")
    expect(links(page)).to_have_count(len(wanted))
    assert shown_ids(page) == wanted
    assert {mark.lower() for mark in page.locator("main mark").all_inner_texts()} == {"xylophone"}
    expect(page).to_have_url(re.compile("q=xyloPHONE"))
    page.reload()
    expect(links(page)).to_have_count(len(wanted))


def test_filtering_by_ending_and_rounds(tab: Watched, run_id: str, records: list[dict[str, Any]]) -> None:
    reasons = {record["termination_reason"] for record in records}
    assert len(reasons) >= 2, reasons
    page = tab.open(f"/runs/{run_id}/conversations")
    for reason in sorted(reasons):
        page.get_by_label("Ending").select_option(reason)
        expect_first(page, [record["id"] for record in records if record["termination_reason"] == reason])
        expect(page).to_have_url(re.compile(f"ending={reason}"))
    page.get_by_label("Ending").select_option("")
    page.get_by_label("Rounds to").fill("1")
    expect_first(page, [record["id"] for record in records if record["num_rounds"] <= 1])
    page.get_by_role("button", name="Clear").first.click()
    expect_first(page, [record["id"] for record in records])
    expect(page.get_by_role("status").filter(has_text=f"{CONVERSATIONS} records")).to_be_visible()


def expect_first(page: Page, wanted: list[str]) -> None:
    """Of these records so many as the page shows at first, and no others."""
    expect(links(page).first).to_have_attribute("href", f"/conversations/{wanted[0]}")
    expect(page.locator("main [aria-busy=true]")).to_have_count(0)
    expect(links(page).nth(min(len(wanted), PAGE) - 1)).to_have_attribute(
        "href", f"/conversations/{wanted[min(len(wanted), PAGE) - 1]}"
    )
    shown = shown_ids(page)
    assert shown == wanted[: len(shown)]


def test_paging_through_everything(tab: Watched, run_id: str, records: list[dict[str, Any]]) -> None:
    """Every record is shown once, in the dataset's order, and the page does not hold them all at first."""
    page = tab.open(f"/runs/{run_id}/conversations")
    expect(links(page).first).to_be_visible()
    assert links(page).count() < CONVERSATIONS
    page.evaluate(NOTE_RECORDS)
    page.get_by_role("button", name="Next records").click()
    expect(links(page).nth(PAGE)).to_be_attached()
    page.wait_for_function(
        "() => { scrollTo(0, document.documentElement.scrollHeight); return document.querySelector('#next').hidden; }"
    )
    assert page.evaluate("platolmRecords") == [record["id"] for record in records]


def test_reading_view_shows_both_sides(tab: Watched, dashboard: Dashboard, records: list[dict[str, Any]]) -> None:
    record = next(record for record in records if record["num_rounds"] == 2)
    page = tab.open(f"/conversations/{record['id']}")
    expect(turns(page)).to_have_count(len(record["turns"]))
    for number, (said, made) in enumerate(zip(record["conversations"], record["turns"], strict=True), 1):
        turn = page.get_by_role("article", name=f"Turn {number}, {made['role']}")
        expect(turn).to_contain_text(said["value"] or "(blank)")
        expect(turn).to_contain_text(f"{made['num_tokens']} tokens" if made["num_tokens"] else "")
        expect(turn).to_contain_text(str(made["sampling_seed"]))
    page.get_by_text("Raw JSON").click()
    expect(page.locator("main pre").filter(has_text='"termination_reason"').first).to_be_visible()


def test_marks_are_kept_and_exported(tab: Watched, dashboard: Dashboard, run_id: str) -> None:
    conversation_id = f"{run_id}-00000007"
    page = tab.open(f"/conversations/{conversation_id}")
    good = page.get_by_role("button", name="Good", exact=True)
    expect(good).to_be_enabled()
    good.click()
    expect(good).to_have_attribute("aria-pressed", "true")
    page.get_by_label("Note").fill("as people talk")
    page.get_by_label("Note").blur()
    expect(page.get_by_role("region", name="Mark").get_by_text("Marked good with a note")).to_be_visible()
    page.reload()
    expect(page.get_by_role("button", name="Good", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.get_by_label("Note")).to_have_value("as people talk")
    url = f"{dashboard.url}/v1/runs/{run_id}/dataset?mark=good"
    exported = httpx.get(url, timeout=30).raise_for_status().text
    assert exported.count("\n") == 1
    assert conversation_id in exported
    page.goto(f"{tab.url}/runs/{run_id}/conversations?mark=good")
    expect(links(page)).to_have_count(1)
    assert shown_ids(page) == [conversation_id]


def test_what_was_said_last_is_kept_when_a_save_is_slow(tab: Watched, dashboard: Dashboard, run_id: str) -> None:
    """A note written while the mark is still on its way comes after it: the mark alone does not win."""
    conversation_id = f"{run_id}-00000011"
    page = tab.open(f"/conversations/{conversation_id}")
    held: list[Route] = []
    page.route("**/mark", lambda route: route.continue_() if held else held.append(route))
    page.get_by_role("button", name="Bad", exact=True).click()
    page.get_by_label("Note").fill("too short")
    page.get_by_label("Note").blur()
    state = page.get_by_role("region", name="Mark")
    expect(state.get_by_text("Keeping…")).to_be_visible()
    held[0].continue_()
    expect(state.get_by_text("Marked bad with a note")).to_be_visible()
    kept = dashboard.conversation(conversation_id)["mark"]
    assert (kept["mark"], kept["note"]) == ("bad", "too short")


def test_going_to_the_neighbours_of_a_search(tab: Watched, run_id: str, records: list[dict[str, Any]]) -> None:
    wanted = [record["id"] for record in records if "in bloom" in texts(record)]
    page = tab.open(f"/runs/{run_id}/conversations?q=in+bloom")
    links(page).nth(1).click()
    expect(page).to_have_url(re.compile(f"{wanted[1]}$"))
    page.get_by_role("button", name="Next", exact=True).click()
    expect(page).to_have_url(re.compile(f"{wanted[2]}$"))
    page.get_by_role("button", name="Previous", exact=True).click()
    page.get_by_role("button", name="Previous", exact=True).click()
    expect(page).to_have_url(re.compile(f"{wanted[0]}$"))
