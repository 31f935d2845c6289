"""Profiles on the pages: chosen for a run, told what they need, and what became of their utterances."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.accessibility import serious_violations
from tests.browser.chromium import NARROW, WIDE, Theme, Watched
from tests.browser.conftest import Tabs
from tests.browser.pages import turns
from tests.browser.small_dashboard import Dashboard
from tests.browser.test_runs import id_in

Record = dict[str, Any]

SLIP = "As an AI language model, I cannot say."
SAID = ("How do boats float on the river?", "Thanks, that is all I need. Goodbye! <end>", SLIP, SLIP)
LOOKS = [pytest.param("light", WIDE, id="light-wide"), pytest.param("dark", NARROW, id="dark-narrow")]


def chosen(page: Page, label: str, name: str) -> Locator:
    """Choose a profile; the line that says what it is."""
    field = page.get_by_label(label, exact=True)
    field.select_option(name)
    return page.locator(f"#{str(field.get_attribute('aria-describedby')).split()[0]}")


@pytest.fixture(scope="module")
def run_id(small: Dashboard) -> str:
    """A run whose user says goodbye, goes on, and gives itself away."""
    small.simulator.phrases, small.respondent.phrases = SAID, ("With salt.", "In time.", "By hand.")
    sides = {"simulator": {"profile": "roleplay"}, "respondent": {"profile": "chat"}}
    run_id = small.finished(60, name="Played roles", endings={"extra_turns": 2}, **sides)
    small.calm_down()
    return run_id


@pytest.fixture(scope="module")
def records(small: Dashboard, run_id: str) -> list[Record]:
    return small.api.dataset(run_id)


def said_goodbye_and_went_on(record: Record) -> bool:
    return record["goodbye_at"] is not None and record["goodbye_at"] < len(record["conversations"])


def slipped(record: Record) -> bool:
    return any("role_slip" in (turn["faults"] or ()) for turn in record["turns"])


def was_unusable(record: Record) -> bool:
    return bool(record["termination_reason"] == "unusable")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_sides_are_chosen_with_what_they_are(tabs: Tabs, dashboard: Dashboard, theme: Theme, width: int) -> None:
    page = tabs(theme=theme, width=width).open("/runs/new")
    assert "Socratic of PlatoLM" in chosen(page, "Simulator (the user)", "socratic").inner_text()
    simulator = page.get_by_role("group").filter(has_text="Simulator (the user): model and sampling")
    simulator.locator("summary").click()
    temperature = simulator.get_by_label("Temperature")
    expect(temperature).to_have_attribute("placeholder", "0.7")
    expect(chosen(page, "Simulator (the user)", "roleplay")).to_have_text(
        "Any chat model that plays a user by a written instruction."
    )
    expect(temperature).to_have_attribute("placeholder", "the model's own")
    expect(chosen(page, "Respondent (the assistant)", "chat")).to_have_text("Any chat model, in its own format.")
    page.get_by_label("Conversations", exact=True).fill("2")
    page.get_by_label("Utterances at most").fill("4")
    simulator.get_by_label("Instruction").fill("You are shy. Leave with {end_marker}")
    endings = page.get_by_role("group").filter(has_text="Utterances after the goodbye")
    page.locator("summary").filter(has_text=re.compile("^Endings$")).click()
    endings.get_by_label("Utterances after the goodbye").fill("2")
    endings.get_by_label("Probability from which it is a goodbye, 0 to 1").fill("0.9")
    endings.get_by_label("When both only say goodbye").uncheck()
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert serious_violations(page) == []
    page.get_by_role("button", name="Start run").click()
    spec = dashboard.api.run(id_in(page))["spec"]
    assert (spec["simulator"]["profile"], spec["respondent"]["profile"]) == ("roleplay", "chat")
    assert spec["simulator"]["instruction"] == "You are shy. Leave with {end_marker}"
    assert spec["simulator"]["sampling"]["temperature"] is None
    asked = {name: spec["endings"][name] for name in ("extra_turns", "goodbye_threshold", "goodbye_loops")}
    assert asked == {"extra_turns": 2, "goodbye_threshold": 0.9, "goodbye_loops": False}


def test_what_a_profile_has_to_be_told_is_said(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs/new")
    expect(chosen(page, "Simulator (the user)", "userlm")).to_contain_text("It has to be told one of intent, goal.")
    page.get_by_role("button", name="Start run").click()
    expect(page.get_by_role("alert")).to_contain_text("userlm has to be told intent or goal")
    tab.forgive("status of 422")
    page.get_by_label("Seed mode").select_option("intent")
    expect(page.locator("#seeds-help")).to_contain_text("what the user wants")
    page.get_by_label("Seeds", exact=True).fill(json.dumps({"goal": "You want a boat.", "profile": "You sail."}))
    page.get_by_role("button", name="Start run").click()
    run_id = id_in(page)
    assert dashboard.api.run(run_id)["spec"]["simulator"]["profile"] == "userlm"
    dashboard.api.act(run_id, "cancel")


def test_a_whole_conversation_is_gone_on_with(tab: Watched, dashboard: Dashboard) -> None:
    said = [{"role": "user", "content": "Is salt soluble?"}, {"role": "assistant", "content": "It is."}]
    page = tab.open("/runs/new")
    page.get_by_label("Conversations", exact=True).fill("1")
    page.get_by_label("Utterances at most").fill("4")
    page.get_by_label("Seed mode").select_option("continue")
    expect(page.locator("#seeds-help")).to_contain_text("Both sides go on")
    page.get_by_label("Seeds", exact=True).fill(json.dumps({"messages": said}))
    page.get_by_role("button", name="Start run").click()
    run_id = id_in(page)
    dashboard.api.wait_completed(run_id)
    [record] = dashboard.api.dataset(run_id)
    assert [turn["value"] for turn in record["conversations"][:2]] == ["Is salt soluble?", "It is."]
    assert len(record["conversations"]) == 4


def a_goodbye(page: Page, record: Record) -> None:
    number = record["goodbye_at"] + 1
    after = len(record["conversations"]) - number
    expect(page.locator("#badges").get_by_text(f"goodbye in turn {number}", exact=True)).to_be_visible()
    head = turns(page).nth(number - 1).locator("header")
    expect(head.get_by_text("goodbye", exact=True)).to_have_attribute("title", re.compile("goodbye, which is cut off"))
    expect(page.get_by_role("complementary")).to_contain_text(
        f"The user said goodbye in turn {number}, with {after} utterance{'s' * (after != 1)} after it."
    )


def a_fault(page: Page, record: Record) -> None:
    position = next(at for at, turn in enumerate(record["turns"]) if "role_slip" in (turn["faults"] or ()))
    count = record["turns"][position]["faults"].count("role_slip")
    label = f"role slip ×{count}" if count > 1 else "role slip"
    expect(turns(page).nth(position).locator("header").get_by_text(label, exact=True)).to_be_visible()
    expect(page.get_by_role("complementary")).to_contain_text("It spoke as the assistant, or wrote both sides.")


def an_unusable_end(page: Page, record: Record) -> None:
    expect(page.locator("#badges").get_by_text("unusable", exact=True)).to_be_visible()
    expect(page.get_by_role("complementary")).to_contain_text("The simulator kept giving itself away")
    expect(turns(page)).to_have_count(len(record["conversations"]))
    expect(page.get_by_role("complementary")).to_contain_text("profile roleplay")


@pytest.mark.parametrize(("theme", "width"), LOOKS)
@pytest.mark.parametrize(
    ("is_wanted", "shows"),
    [(said_goodbye_and_went_on, a_goodbye), (slipped, a_fault), (was_unusable, an_unusable_end)],
)
def test_the_reading_view_tells(
    tabs: Tabs,
    records: list[Record],
    is_wanted: Callable[[Record], bool],
    shows: Callable[[Page, Record], None],
    theme: Theme,
    width: int,
) -> None:
    record = next(filter(is_wanted, records))
    page = tabs(theme=theme, width=width).open(f"/conversations/{record['id']}")
    shows(page, record)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert serious_violations(page) == []


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_a_runs_page_counts_what_was_found(
    tabs: Tabs, dashboard: Dashboard, run_id: str, theme: Theme, width: int
) -> None:
    url = f"{dashboard.url}/v1/runs/{run_id}/histograms"
    faults = httpx.get(url, timeout=30).raise_for_status().json()["faults"]
    assert faults["role_slip"] > 0
    page = tabs(theme=theme, width=width).open(f"/runs/{run_id}")
    expect(page.locator("#about")).to_contain_text("roleplay asks, chat answers")
    found = page.get_by_role("table", name="Found by guardrails")
    expect(found.get_by_role("row")).to_have_count(len(faults))
    expect(found.get_by_role("row").filter(has_text="role slip")).to_contain_text(
        re.compile(rf"It spoke as the assistant, or wrote both sides\.\s*{faults['role_slip']:,}$")
    )
    ending = page.locator("#endings-table tr").filter(has_text="unusable")
    expect(ending).to_contain_text("The simulator kept giving itself away")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
    assert serious_violations(page) == []


def test_goodbyes_without_end_are_an_ending(tab: Watched, dashboard: Dashboard) -> None:
    dashboard.say(["Goodbye, and thanks!"])
    run_id = dashboard.finished(2, endings={"max_turns": 8})
    page = tab.open(f"/runs/{run_id}")
    row = page.locator("#endings-table tr").filter(has_text="goodbye loop")
    expect(row).to_contain_text("Both sides did nothing but say goodbye to each other.")
    expect(page.get_by_role("table", name="Found by guardrails")).to_be_hidden()
    page.goto(f"{tab.url}/conversations/{run_id}-00000000")
    expect(page.locator("#badges").get_by_text("goodbye loop", exact=True)).to_be_visible()
