"""The dashboard in a real Chromium over real engines and the demo pair."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.chromium import Watched, chromium, chromium_path, watched
from tests.browser.conftest import KEY
from tests.browser.pages import card, expect_connected, log_in, opened, turns
from tests.integration.orchestrator.processes import Api, api_process, wait_until
from tests.local_stack import RunningStack

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

IN_RUN = re.compile(r"/runs/(run-[0-9a-f]+)$")
QUESTION = "How do I keep a basil plant alive?"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if chromium_path() is None:
        pytest.skip("no chromium on this system: install Debian's package `chromium`")
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser: Browser, stack: RunningStack) -> Iterator[Watched]:
    with watched(browser, stack.api_url) as tab:
        yield tab
        assert tab.faults == []


@pytest.fixture
def api(stack: RunningStack) -> Api:
    return Api(stack.api_url)


@pytest.fixture
def run_id(api: Api) -> Iterator[str]:
    """A run that is going, of long conversations."""
    run_id = submitted(api, 10_000, max_turns=40, in_flight=4)
    wait_until(lambda: api.run(run_id)["utterances"] > 4, what="utterances")
    yield run_id
    api.act(run_id, "cancel")
    wait_until(lambda: api.run(run_id)["state"] == "cancelled", what="the run cancelled")


@pytest.fixture(scope="module")
def finished(stack: RunningStack) -> str:
    api = Api(stack.api_url)
    run_id = submitted(api, 12, max_turns=4, in_flight=12)
    api.wait_completed(run_id)
    return run_id


def submitted(api: Api, conversations: int, *, max_turns: int, in_flight: int) -> str:
    endings = {"max_turns": max_turns, "user_ended": False, "repetition": False, "empty": False}
    spec = {"conversations": conversations, "endings": endings, "limits": {"in_flight": in_flight}}
    response = api.submit({"spec": spec})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def state_badge(page: Page, state: str) -> Locator:
    return page.locator("main .badge").filter(has_text=re.compile(state, re.IGNORECASE)).first


def expect_turns(page: Page, count: int) -> Locator:
    """So many complete ones, with something said in each."""
    expect(turns(page)).to_have_count(count)
    expect(page.get_by_role("button", name="Stop")).to_be_hidden()
    for turn in turns(page).all():
        assert turn.locator(".turn__text").inner_text().strip()
    return turns(page)


def send(page: Page, text: str) -> None:
    page.get_by_label("Message").fill(text)
    page.get_by_role("button", name="Send").click()


def test_a_run_by_the_form(tab: Watched, api: Api) -> None:
    """Started, watched on the wall, paused, resumed, and in the end downloaded."""
    page = tab.open("/runs/new")
    page.get_by_label("Conversations", exact=True).fill("8")
    page.get_by_label("Utterances at most").fill("8")
    page.get_by_label("Seeds", exact=True).fill(json.dumps({"question": QUESTION}))
    page.get_by_role("button", name="Start run").click()
    expect(page).to_have_url(IN_RUN)
    run_id = page.url.rpartition("/")[2]
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    assert api.run(run_id)["state"] == "paused"
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    expect(state_badge(page, "completed")).to_be_visible(timeout=120_000)
    with page.expect_download() as downloading:
        page.get_by_role("link", name="ShareGPT").click()
    records = [json.loads(line) for line in downloading.value.path().read_bytes().splitlines()]
    assert records == api.dataset(run_id)
    assert {record["conversations"][0]["value"] for record in records} == {QUESTION}
    assert len(records) == 8


def test_a_card_grows_and_one_opened_streams(tab: Watched, api: Api, run_id: str) -> None:
    page = tab.open(f"/?run={run_id}")
    expect_connected(page)
    conversation_id = newest_in_flight(api, run_id)
    grown = card(page, conversation_id)
    expect(turns(grown).first).to_be_visible()
    before = turns(grown).last.inner_text()
    expect(turns(grown).last).not_to_have_text(before)
    page.evaluate(RECORD_PARTIALS)
    open_card(grown)
    expect(turns(opened(page)).first).to_be_visible()
    page.wait_for_function(
        "() => window.platolmPartials.some((text, at, all) => at > 0 && grewFrom(text, all[at - 1]))"
    )


RECORD_PARTIALS = """() => {
  window.platolmPartials = [];
  window.grewFrom = (text, before) => before.length > 3 && text.length > before.length && text.startsWith(before);
  new MutationObserver(() => {
    const bodies = document.querySelectorAll("section[aria-label='Opened conversation'] .turn .turn__text");
    if (bodies.length > 0) window.platolmPartials.push(bodies[bodies.length - 1].textContent);
  }).observe(document.body, { childList: true, subtree: true, characterData: true });
}"""
"""What the opened conversation's last turn showed, change by change: an utterance that grows is seen growing."""


def open_card(grown: Locator) -> None:
    button = re.compile("^Open")
    grown.get_by_role("link", name=button).or_(grown.get_by_role("button", name=button)).first.click()


def newest_in_flight(api: Api, run_id: str) -> str:
    def listed() -> list[dict[str, Any]]:
        answer = httpx.get(f"{api.url}/v1/runs/{run_id}/conversations?state=in_flight", timeout=30).raise_for_status()
        found: list[dict[str, Any]] = answer.json()["conversations"]
        return found

    wait_until(listed, what="a conversation in flight")
    return str(min(listed(), key=lambda conversation: conversation["num_turns"])["id"])


def test_searching_what_the_models_said(tab: Watched, api: Api, finished: str) -> None:
    records = api.dataset(finished)
    word = max(records[3]["conversations"][1]["value"].split(), key=len).strip(".,!?;:\"'()")
    wanted = [record["id"] for record in records if word.lower() in said_in(record).lower()]
    page = tab.open(f"/runs/{finished}/conversations")
    page.get_by_role("searchbox", name="Search").fill(word)
    links = page.locator("main .record a.record__text")
    expect(links).to_have_count(len(wanted))
    assert [str(link.get_attribute("href")).rpartition("/")[2] for link in links.all()] == wanted
    links.first.click()
    expect(page).to_have_url(re.compile(wanted[0]))
    expect(turns(page)).to_have_count(4)


def said_in(record: dict[str, Any]) -> str:
    return "\n".join(turn["value"] for turn in record["conversations"])


def test_talking_on_either_side(tab: Watched) -> None:
    page = tab.open("/talk")
    send(page, QUESTION)
    expect_turns(page, 2)
    send(page, "And in winter?")
    expect_turns(page, 4)
    page.get_by_role("button", name="New talk").click()
    page.locator("label").filter(has_text="Be questioned").click()
    page.get_by_role("button", name="Start").click()
    first = expect_turns(page, 1).first
    expect(first).to_have_attribute("aria-label", "Turn 1, user")
    send(page, "I would begin with the soil: is it dry to the touch?")
    expect(expect_turns(page, 3).last).to_have_attribute("aria-label", "Turn 3, user")


def test_watching_stepping_in_branching_and_saving(tab: Watched, api: Api) -> None:
    page = tab.open("/talk")
    page.locator("label").filter(has_text="Watch both").click()
    page.get_by_label("Message").fill(QUESTION)
    page.get_by_role("button", name="Start").click()
    expect(turns(page).nth(2)).to_be_visible()
    page.get_by_role("button", name="Step in").click()
    before = turns(page).count()
    send(page, "Let us talk about the garden instead.")
    expect(turns(page).nth(before)).to_contain_text("about the garden instead")
    expect(turns(page).nth(before + 1)).to_be_visible()
    if page.get_by_role("button", name="Stop").is_visible():
        page.get_by_role("button", name="Stop").click()
    page.get_by_role("button", name=re.compile("^Edit turn 1")).click()
    page.get_by_label("Edited text").fill("How do I keep a cactus alive?")
    page.get_by_role("button", name="Branch").click()
    expect(turns(page).nth(0)).to_contain_text("cactus")
    expect(turns(page).nth(3)).to_be_visible()
    stop = page.get_by_role("button", name="Stop")
    if stop.is_visible():
        stop.click()
    expect(stop).to_be_hidden()
    page.get_by_role("button", name="Save", exact=True).click()
    link = page.get_by_role("link", name=re.compile("^talks-"))
    expect(link).to_be_visible()
    record = (
        httpx.get(f"{api.url}/v1/conversations/{link.inner_text()}", timeout=30).raise_for_status().json()["record"]
    )
    assert record["conversations"][0]["value"] == "How do I keep a cactus alive?"
    assert (record["simulator"]["model"], record["respondent"]["model"]) == ("socratic", "platolm")


def test_the_key_opens_the_same_runs(browser: Browser, stack: RunningStack, finished: str, tmp_path: Path) -> None:
    """An API with a key, over the stack's own Redis and datasets."""
    redis_url = f"redis://127.0.0.1:{stack.ports['redis_port']}/0"
    process = api_process(tmp_path, redis_url, api_keys=KEY, data_dir=stack.folder / "data").start()
    try:
        with watched(browser, process.ready_url.removesuffix("/readyz")) as tab:
            page = tab.open(f"/runs/{finished}")
            expect(page).to_have_url(re.compile(r"/login\?next="))
            log_in(page)
            expect(page).to_have_url(re.compile(f"/runs/{finished}$"))
            expect(state_badge(page, "completed")).to_be_visible()
            assert tab.faults == []
    finally:
        process.end()
