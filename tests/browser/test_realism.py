"""A run's page tells how its user sounds beside the bounds of its spec, and what to do where it is beyond them."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import serious_violations
from tests.browser.chromium import NARROW, WIDE, Theme
from tests.browser.conftest import Tabs
from tests.browser.small_dashboard import Dashboard
from tests.integration.orchestrator.processes import wait_until

SLIPS = ("As an AI language model, I cannot say.", "I hope this helps! Goodbye.")
QUESTIONS = ("how do boats float on the river", "why is the soup too cold today", "what grows in a winter garden")
BOUNDS: dict[str, Any] = {"role_slips": {"at_most": 0.025}, "rounds": {"at_least": 1, "at_most": 4.5}, "after": 4}


def realism(page: Page) -> Locator:
    return page.get_by_role("table", name="Realism of the user")


def row(page: Page, figure: str) -> Locator:
    return realism(page).get_by_role("row").filter(has=page.get_by_role("rowheader", name=figure))


def warning(page: Page) -> Locator:
    return page.locator(".notice").filter(has_text="out of the run's bounds")


def pausing(dashboard: Dashboard, conversations: int = 400) -> str:
    """A run that has paused because its user slips; its id."""
    dashboard.simulator.phrases = SLIPS
    dashboard.simulator.latency_s = dashboard.respondent.latency_s = 0.05
    limits = {"in_flight": 6, "realism": {**BOUNDS, "then": "pause"}}
    run_id = dashboard.submit(conversations, limits=limits, output={"segment_records": 4})
    wait_until(lambda: dashboard.api.run(run_id)["state"] == "paused", what="a pause")
    return run_id


@pytest.mark.parametrize(("theme", "width"), [("light", WIDE), ("dark", NARROW)])
def test_figures_stand_beside_their_bounds(tabs: Tabs, dashboard: Dashboard, theme: Theme, width: int) -> None:
    run_id = pausing(dashboard)
    tab = tabs(theme=theme, width=width)
    page = tab.open(f"/runs/{run_id}")
    expect(row(page, "Role slips")).to_contain_text(re.compile(r"out of bounds.*100 %.*at most 2\.5 %"))
    expect(row(page, "Rounds")).to_contain_text(re.compile(r"3.*1 to 4\.5"))
    expect(row(page, "Rounds")).not_to_contain_text("out of bounds")
    expect(row(page, "Distinct openings")).to_contain_text("–")
    expect(warning(page)).to_contain_text("role_slips 1 is above 0.025 (limits.realism.role_slips.at_most)")
    expect(warning(page)).to_contain_text("then resume the run or cancel it")
    expect(page.get_by_text("Adjusted or left out at the start")).to_be_hidden()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert serious_violations(page) == []


def test_the_warning_goes_and_comes_without_a_reload(tabs: Tabs, dashboard: Dashboard) -> None:
    run_id = pausing(dashboard)
    page = tabs().open(f"/runs/{run_id}")
    expect(warning(page)).to_be_visible()
    dashboard.simulator.phrases = QUESTIONS
    dashboard.simulator.latency_s = dashboard.respondent.latency_s = 0.0
    page.get_by_role("button", name="Resume").click()
    expect(warning(page)).to_contain_text("The run goes on.")
    dashboard.api.wait_completed(run_id)
    expect(page.get_by_text("Over 400 of the dataset's conversations")).to_be_visible()
    is_out = bool(dashboard.api.run(run_id)["warnings"])
    expect(warning(page)).to_be_visible() if is_out else expect(warning(page)).to_be_hidden()


def test_before_the_first_segment_there_is_no_table(tabs: Tabs, dashboard: Dashboard) -> None:
    page = tabs().open(f"/runs/{dashboard.going(4, latency_s=5)}")
    expect(page.get_by_text("No conversation of the dataset has been measured.")).to_be_visible()
    expect(realism(page)).to_be_hidden()
    expect(warning(page)).to_be_hidden()


def test_bounds_are_set_by_the_form(tabs: Tabs, dashboard: Dashboard) -> None:
    page = tabs().open("/runs/new")
    page.get_by_label("Conversations", exact=True).fill("2")
    page.get_by_text("Realism of the user").click()
    page.get_by_label("Repeats at most").fill("0.02")
    page.get_by_label("Judged after conversations").fill("1")
    page.get_by_label("When a figure leaves its bounds").select_option("cancel")
    page.get_by_role("button", name="Start run").click()
    expect(page).to_have_url(re.compile(r"/runs/run-[0-9a-f]+$"))
    asked = dashboard.api.run(page.url.rpartition("/")[2])["spec"]["limits"]["realism"]
    assert (asked["repeats"], asked["after"], asked["then"]) == ({"at_least": None, "at_most": 0.02}, 1, "cancel")
