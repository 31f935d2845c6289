"""What models write stays text: nothing of it runs, loads, links to a script, or leaves the page's frame."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.chromium import Watched
from tests.browser.pages import card, opened, turns
from tests.browser.small_dashboard import Dashboard
from tests.browser.speaking import HOSTILE

SCRIPT = "<script>alert('a script')</script>"
NAME = "<img src=x onerror=alert('name')> \"><script>alert('name')</script>"

_FOREIGN = "script, iframe, img, object, embed, form, input, style, link, meta, base, frame, video, audio"
_HANDLERS = """(node) => [...node.querySelectorAll("*")].filter((element) =>
  [...element.attributes].some(({ name }) => name.startsWith("on") || name === "style" || name === "srcdoc"))
  .map((element) => element.outerHTML.slice(0, 200))"""
_LINKS = "(node) => [...node.querySelectorAll('a, area, use')].map((link) => link.protocol)"


@pytest.fixture(scope="module")
def hostile_run(small: Dashboard) -> str:
    small.say(HOSTILE)
    seeds = [{"question": text} for text in HOSTILE]
    run_id = small.finished(3 * len(HOSTILE), name=NAME, seed_mode="question", seeds=seeds)
    small.calm_down()
    return run_id


def check_texts(page: Page, shown: Locator) -> None:
    """Of what is shown of conversations."""
    assert shown.count() > 0
    for node in shown.all():
        assert node.locator(_FOREIGN).count() == 0, node.inner_html()
        assert node.evaluate(_HANDLERS) == []
        assert set(node.evaluate(_LINKS)) <= {"http:", "https:", "mailto:"}, node.inner_html()
    assert page.evaluate("getComputedStyle(document.body).display") != "none"


def test_reading_view(tab: Watched, hostile_run: str, dashboard: Dashboard) -> None:
    seen = set()
    for index in range(len(HOSTILE)):
        conversation_id = f"{hostile_run}-{index:08d}"
        page = tab.open(f"/conversations/{conversation_id}")
        said = [turn["content"] for turn in dashboard.conversation(conversation_id)["turns"]]
        expect(turns(page)).to_have_count(len(said))
        expect(turns(page).last).to_contain_text(re.compile(r"\S{3}"))
        check_texts(page, turns(page))
        if SCRIPT in "".join(said):
            expect(page.get_by_text(SCRIPT).first).to_be_visible()
        seen.update(said)
        page.close()
    assert seen == set(HOSTILE)


def test_search(tab: Watched, hostile_run: str) -> None:
    page = tab.open(f"/runs/{hostile_run}/conversations?q=%3Cscript%3E")
    expect(page.locator("main mark").first).to_have_text("<script>")
    check_texts(page, page.locator("main .record__text"))


def test_runs_and_run(tab: Watched, hostile_run: str) -> None:
    page = tab.open("/runs")
    expect(page.get_by_text(NAME).first).to_be_visible()
    assert page.locator("main img, main script").count() == 0
    page.goto(f"{tab.url}/runs/{hostile_run}")
    expect(page.locator("h1")).to_contain_text(NAME)
    assert page.locator("main img, main script").count() == 0


def test_live_wall(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=0.3, seed_mode="question", seeds=[{"question": text} for text in HOSTILE])
    dashboard.say(HOSTILE, latency_s=0.3)
    conversation_id = dashboard.in_flight(run_id)
    page = tab.open(f"/?conversation={conversation_id}")
    expect(turns(card(page, conversation_id)).nth(1)).to_be_visible()
    expect(turns(opened(page)).nth(1)).to_be_visible()
    dashboard.api.act(run_id, "pause")
    check_texts(page, turns(page))


def test_talk(tab: Watched, dashboard: Dashboard) -> None:
    """Each said once, by a person or by the respondent: a repetition would end the talk."""
    page = tab.open("/talk")
    for number in range(len(HOSTILE) // 2):
        dashboard.say([HOSTILE[2 * number + 1]])
        page.get_by_label("Message").fill(HOSTILE[2 * number])
        page.get_by_role("button", name="Send").click()
        expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
        expect(turns(page)).to_have_count(2 * number + 2)
    check_texts(page, turns(page))


def test_errors(tab: Watched, dashboard: Dashboard) -> None:
    """Why a conversation is dead, as an engine told it."""
    for engine in (dashboard.simulator, dashboard.respondent):
        engine.failures, engine.failure_status = 100, 400
    try:
        run_id = dashboard.submit(1, retries={"attempts": 1})
        dashboard.api.wait_completed(run_id)
    finally:
        for engine in (dashboard.simulator, dashboard.respondent):
            engine.failures, engine.failure_status = 0, 500
    page = tab.open(f"/runs/{run_id}")
    expect(page.get_by_text("made to fail")).to_be_visible()
