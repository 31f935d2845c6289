"""The live wall: cards that grow, one that streams, endings, and a flood of utterances."""

from __future__ import annotations

import re

from playwright.sync_api import expect

from tests.browser.chromium import Watched
from tests.browser.flood import Watch, flooding, message
from tests.browser.pages import card, cards, expect_connected, opened, turns
from tests.browser.small_dashboard import Dashboard

MOST_CARDS = 200
"""However many conversations are in flight, a page holds no more."""


def test_a_card_grows_by_turns(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=0.5)
    page = tab.open("/")
    expect_connected(page)
    grown = card(page, dashboard.in_flight(run_id))
    expect(turns(grown).first).to_be_visible()
    before = turns(grown).last.inner_text()
    expect(turns(grown).last).not_to_have_text(before)


def test_only_one_runs_conversations(tab: Watched, dashboard: Dashboard) -> None:
    runs = [dashboard.going(latency_s=0.4), dashboard.going(latency_s=0.4)]
    page = tab.open(f"/?run={runs[0]}")
    expect(turns(card(page, dashboard.in_flight(runs[0])))).not_to_have_count(0)
    assert all(runs[0] in str(shown.get_attribute("aria-label")) for shown in cards(page).all())
    everything = tab.open("/")
    for run_id in runs:
        expect(everything.locator(f"article.card[aria-label^='{run_id}']").first).to_be_visible()


def test_one_opened_streams_its_utterance(tab: Watched, dashboard: Dashboard) -> None:
    """Text appears before its utterance is complete, and stays once it is."""
    dashboard.say(["one two three four five six seven eight nine ten eleven twelve"], token_latency_s=0.04)
    run_id = dashboard.submit(4)
    conversation_id = dashboard.in_flight(run_id)
    page = tab.open("/")
    card(page, conversation_id).get_by_role("link", name=re.compile("Open")).or_(
        card(page, conversation_id).get_by_role("button", name=re.compile("Open"))
    ).first.click()
    expect(page).to_have_url(re.compile(f"conversation={conversation_id}"))
    partial = turns(opened(page)).filter(has_text=re.compile(r"one two(?!.*twelve)", re.DOTALL))
    expect(partial.first).to_be_visible()
    expect(turns(opened(page)).filter(has_text="eleven twelve").nth(1)).to_be_visible()
    said = [turn["content"] for turn in dashboard.conversation(conversation_id)["turns"]]
    assert len(said) >= 2


def test_the_opened_one_can_be_copied_and_linked_to(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=1.0)
    conversation_id = dashboard.in_flight(run_id)
    page = tab.open(f"/?conversation={conversation_id}")
    expect(turns(opened(page)).first).to_be_visible()
    said = dashboard.conversation(conversation_id)["turns"][0]["content"]
    opened(page).get_by_role("button", name="Copy").first.click()
    page.wait_for_function("text => navigator.clipboard.readText().then((copied) => copied.includes(text))", arg=said)
    link = opened(page).get_by_role("link", name="Permalink")
    expect(link).to_have_attribute("href", re.compile(f"/conversations/{conversation_id}$"))
    opened(page).get_by_role("button", name="Close").click()
    expect(opened(page)).to_be_hidden()
    expect(page).not_to_have_url(re.compile("conversation="))


def test_an_ended_conversation_wears_its_reason(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(2, latency_s=0.5, limits={"in_flight": 2})
    page = tab.open("/")
    for index in range(2):
        badge = card(page, f"{run_id}-{index:08d}").locator(".badge--turn_limit")
        expect(badge).to_be_visible()


def test_a_thousand_utterances_a_second_are_drawn_by_frames(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=60.0)
    page = tab.open(f"/?run={run_id}")
    expect_connected(page)
    watch = Watch(page)
    with flooding(dashboard.redis.url, run_id, rate_per_s=1000, seconds=2.0) as published:
        page.wait_for_function("() => window.platolmSeen.changes > 0")
    assert (published.published, published.listeners >= 1) == (2000, True)
    last = message(1999, 50).partition("Utterance ")[2][:5]
    expect(page.get_by_text(f"Utterance {last}").first).to_be_visible()
    fared = watch.told()
    assert fared.changes <= len(fared.gaps_ms) + 60, "changes come by frames, not by events"
    assert cards(page).count() <= MOST_CARDS
