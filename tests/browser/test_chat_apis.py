"""A run that asks chat APIs: started by the form, with what it costs on its page."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

from playwright.sync_api import Browser, Page, expect

from tests.browser.accessibility import serious_violations
from tests.browser.chromium import NARROW, Watched, watched
from tests.integration.orchestrator.outside.outside_stack import ASKER, FIRST, OutsideStack, anew, outside_stack

CONVERSATIONS = 4


def group(page: Page, title: str) -> None:
    page.locator("summary").filter(has_text=re.compile(f"^{re.escape(title)}$")).click()


def fill_in(page: Page) -> None:
    page.get_by_label("Conversations", exact=True).fill(str(CONVERSATIONS))
    page.get_by_label("Utterances at most").fill("4")
    page.get_by_label("Simulator (the user)", exact=True).select_option("roleplay")
    page.get_by_label("Respondent (the assistant)", exact=True).select_option("chat")
    for role, side, apis in (
        ("Simulator (the user)", "simulator", f"{ASKER}=2.5\n"),
        ("Respondent (the assistant)", "respondent", FIRST),
    ):
        group(page, f"{role}: model and sampling")
        page.locator(f"#spec-{side}-apis").fill(apis)
    group(page, "Limits and output")


def test_a_run_over_chat_apis_and_what_it_costs(browser: Browser, tmp_path: Path) -> None:
    for folder in ("stack", "mine"):
        (tmp_path / folder).mkdir()
    with outside_stack(tmp_path / "stack") as running, ExitStack() as ending:
        outside = anew(running, tmp_path / "mine")
        with watched(browser, outside.api.url) as tab:
            page = tab.open("/runs/new")
            run_id = start_by_the_form(tab, page, outside)
            costs = page.get_by_role("table", name="Chat APIs")
            expect(costs).to_be_visible()
            expect(page.locator("#apis-of")).to_contain_text("The run pauses before it costs more than 100")
            ending.callback(outside.worker().end)
            use = outside.api.wait_completed(run_id)["apis"]
            for side in ("simulator", "respondent"):
                row = costs.get_by_role("row").filter(has=page.get_by_role("rowheader", name=side))
                expect(row).to_contain_text(str(use[side]["requests"]), timeout=15_000)
                expect(row.get_by_role("cell").last).to_have_text(f"{use[side]['cost']:.4g}", timeout=15_000)
            assert serious_violations(page) == []
        with watched(browser, outside.api.url, theme="dark", width=NARROW) as narrow:
            page = narrow.open(f"/runs/{run_id}")
            expect(page.get_by_role("table", name="Chat APIs")).to_be_visible()
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "no sideways scrolling"
        assert tab.faults == narrow.faults == []


def start_by_the_form(tab: Watched, page: Page, outside: OutsideStack) -> str:
    fill_in(page)
    page.get_by_label("Budget for chat APIs").fill("100")
    page.locator("#spec-respondent-apis").fill("nobody")
    page.get_by_role("button", name="Start run").click()
    expect(page.locator("#spec-respondent-apis-problem, [role=alert]").first).to_contain_text("nobody")
    tab.forgive("status of 4")
    page.locator("#spec-respondent-apis").fill(FIRST)
    page.get_by_role("button", name="Start run").click()
    page.wait_for_url(re.compile(r"/runs/(?!new)"))
    run_id = page.url.rsplit("/", 1)[1]
    spec = outside.spec(run_id)
    assert (spec.simulator.apis, spec.respondent.apis) == ({ASKER: 2.5}, {FIRST: 1.0})
    assert spec.limits.budget == 100
    return run_id
