"""Runs by the browser: started, steered, followed, downloaded."""

from __future__ import annotations

import json
import re
from pathlib import Path

import httpx
import pyarrow.parquet as pq  # type: ignore[import-untyped]
from playwright.sync_api import Page, expect

from platolm.runs_api import DatasetFormat
from tests.browser.chromium import Watched
from tests.browser.small_dashboard import Dashboard

CHARTS = ("Finished", "In flight", "KV cache in use", "Prefix cache hits", "Rounds", "Length of the user's utterances")
LINES = (
    """[...document.querySelectorAll(".chart__line")].map((line) => line.getAttribute("d") ?? "").join(" ").trim()"""
)
"""Where the lines of all charts run."""

IN_RUN = re.compile(r"/runs/(run-[0-9a-f]+)$")


def id_in(page: Page) -> str:
    expect(page).to_have_url(IN_RUN)
    found = IN_RUN.search(page.url)
    assert found is not None
    return found.group(1)


def test_starting_one_by_the_form(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs")
    page.get_by_role("link", name="New run").first.click()
    page.get_by_label("Conversations", exact=True).fill("3")
    page.get_by_label("Utterances at most").fill("4")
    page.get_by_role("button", name="Start run").click()
    run_id = id_in(page)
    spec = dashboard.api.run(run_id)["spec"]
    assert (spec["conversations"], spec["endings"]["max_turns"], spec["seed_mode"]) == (3, 4, "free")
    expect(page.locator("main .badge").filter(has_text=re.compile("completed", re.IGNORECASE)).first).to_be_visible()
    page.goto(f"{tab.url}/runs")
    expect(page.locator(f"main a[href*='{run_id}']").first).to_be_visible()


def test_seeds_are_pasted_or_read_from_a_file(tab: Watched, dashboard: Dashboard, tmp_path: Path) -> None:
    lines = [json.dumps({"question": f"Why is the sky {colour}?"}) for colour in ("blue", "red")]
    file = tmp_path / "seeds.jsonl"
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    for from_file in (False, True):
        page = tab.open("/runs/new")
        page.get_by_label("Conversations", exact=True).fill("2")
        page.get_by_label("Utterances at most").fill("2")
        if from_file:
            page.get_by_label("Seeds from a file").set_input_files(file)
        else:
            page.get_by_label("Seeds", exact=True).fill("\n".join(lines))
        page.get_by_role("button", name="Start run").click()
        run_id = id_in(page)
        dashboard.api.wait_completed(run_id)
        openings = {record["conversations"][0]["value"] for record in dashboard.api.dataset(run_id)}
        assert openings == {"Why is the sky blue?", "Why is the sky red?"}


def test_starting_one_from_a_spec(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs/new")
    page.get_by_role("tab", name="Spec").click()
    spec = {"conversations": 2, "name": "By a spec", "endings": {"max_turns": 2}}
    page.get_by_role("textbox", name="Spec").fill(json.dumps({"spec": spec}))
    page.get_by_role("button", name="Start run").click()
    run_id = id_in(page)
    assert dashboard.api.run(run_id)["spec"]["name"] == "By a spec"
    expect(page.locator("h1")).to_contain_text("By a spec")


def test_what_is_wrong_with_a_spec_is_said(tab: Watched, dashboard: Dashboard) -> None:
    page = tab.open("/runs/new")
    page.get_by_role("tab", name="Spec").click()
    page.get_by_role("textbox", name="Spec").fill(json.dumps({"spec": {"conversations": 0, "sed": 1}}))
    page.get_by_role("button", name="Start run").click()
    alert = page.get_by_role("alert").filter(has_text="conversations")
    expect(alert).to_contain_text("greater than or equal to 1")
    expect(alert).to_contain_text("sed")
    expect(page).to_have_url(re.compile("/runs/new"))
    tab.forgive("status of 422")


def test_pausing_and_resuming(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=0.3)
    page = tab.open(f"/runs/{run_id}")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert dashboard.api.run(run_id)["state"] == "paused"
    expect(page.locator("main .badge").filter(has_text=re.compile("paused", re.IGNORECASE)).first).to_be_visible()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    assert dashboard.api.run(run_id)["state"] == "running"


def test_cancelling_asks_first(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(latency_s=0.3)
    page = tab.open(f"/runs/{run_id}")
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog = page.get_by_role("dialog").or_(page.get_by_role("alertdialog"))
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    assert dashboard.api.run(run_id)["state"] == "running"
    page.get_by_role("button", name="Cancel", exact=True).click()
    dialog.get_by_role("button", name="Cancel the run").click()
    expect(page.locator("main .badge").filter(has_text=re.compile("cancelled", re.IGNORECASE)).first).to_be_visible()
    assert dashboard.api.run(run_id)["state"] == "cancelled"


def test_dead_ones_are_shown_and_retried(tab: Watched, dashboard: Dashboard) -> None:
    dashboard.simulator.failures, dashboard.simulator.failure_status = 1, 400
    run_id = dashboard.submit(1, retries={"attempts": 1})
    dashboard.api.wait_completed(run_id)
    assert dashboard.api.run(run_id)["dead"] == 1
    dashboard.simulator.failure_status = 500
    page = tab.open(f"/runs/{run_id}")
    expect(page.get_by_text("made to fail")).to_be_visible()
    page.get_by_role("button", name="Retry dead").click()
    expect(page.get_by_text("made to fail")).to_be_hidden()
    dashboard.api.wait_completed(run_id)
    assert (dashboard.api.run(run_id)["dead"], dashboard.api.run(run_id)["committed"]) == (0, 1)


def test_downloads_are_what_the_api_gives(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.finished(5)
    page = tab.open(f"/runs/{run_id}")
    for name, form in [("ShareGPT", DatasetFormat.SHAREGPT), ("OpenAI", DatasetFormat.OPENAI)]:
        with page.expect_download() as downloading:
            page.get_by_role("link", name=name).click()
        assert downloading.value.suggested_filename == f"{run_id}{form.suffix}"
        url = f"{dashboard.url}/v1/runs/{run_id}/dataset?format={form}"
        assert downloading.value.path().read_bytes() == httpx.get(url, timeout=30).raise_for_status().content
    with page.expect_download() as downloading:
        page.get_by_role("link", name="Parquet").click()
    assert downloading.value.suggested_filename == f"{run_id}.parquet"
    ids = pq.read_table(downloading.value.path(), columns=["id"]).column("id").to_pylist()
    assert sorted(ids) == [f"{run_id}-{index:08d}" for index in range(5)]


def test_charts_move(tab: Watched, dashboard: Dashboard) -> None:
    """With a run going each new sample moves the lines."""
    run_id = dashboard.going(latency_s=0.2)
    page = tab.open(f"/runs/{run_id}")
    for title in CHARTS:
        expect(page.get_by_role("main").get_by_text(title, exact=True).first).to_be_visible()
    page.wait_for_function(f"() => {LINES} !== ''")
    before = page.evaluate(LINES)
    page.wait_for_function(f"before => {LINES} !== before", arg=before)


def test_progress_reaches_its_end_without_a_reload(tab: Watched, dashboard: Dashboard) -> None:
    run_id = dashboard.going(4, latency_s=0.3)
    page = tab.open(f"/runs/{run_id}")
    expect(page.locator("main .badge").filter(has_text=re.compile("running", re.IGNORECASE)).first).to_be_visible()
    expect(page.locator("main .badge").filter(has_text=re.compile("completed", re.IGNORECASE)).first).to_be_visible()
    expect(page.get_by_role("progressbar").first).to_be_visible()
