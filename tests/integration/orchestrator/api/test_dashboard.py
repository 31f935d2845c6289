"""The dashboard of a real API process: login by its key, live events by the cookie, texts rendered in their process."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.integration.orchestrator.api.runs import body, url_of
from tests.integration.orchestrator.processes import Process, api_process, wait_until
from tests.redis_server import RedisServer

KEY = "a-key-for-this-test"
SLOW = "![" * 400_000
"""Pictures that never end: over ten seconds of work."""


@pytest.fixture(scope="module")
def keyed(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    process = api_process(tmp_path_factory.mktemp("keyed"), redis_server.url, api_keys=KEY).start()
    yield process
    process.end()


@pytest.fixture
def browser(keyed: Process) -> Iterator[httpx.Client]:
    """Logged in, and saying as a browser does where its requests come from."""
    with httpx.Client(base_url=url_of(keyed), headers={"Sec-Fetch-Site": "same-origin"}, timeout=60) as client:
        assert client.post("/login", data={"key": KEY}).status_code == 303
        yield client


def rendered(client: httpx.Client, *texts: str) -> list[str]:
    answer: dict[str, list[str]] = client.post("/v1/render", json={"texts": texts}).raise_for_status().json()
    return answer["html"]


def children_of(process: Process) -> list[int]:
    assert process.popen is not None
    listed = Path(f"/proc/{process.popen.pid}/task/{process.popen.pid}/children").read_text().split()
    return [int(pid) for pid in listed]


def test_a_session_starts_and_follows_a_run(browser: httpx.Client) -> None:
    run_id = browser.post("/v1/runs", json=body(3)).raise_for_status().json()["id"]
    with browser.stream("GET", f"/v1/runs/{run_id}/events") as events:
        assert events.status_code == 200
        lines = events.iter_lines()
        assert next(lines) == "event: progress"
        assert json.loads(next(lines).removeprefix("data: "))["id"] == run_id
    assert browser.post(f"/v1/runs/{run_id}/cancel").status_code == 200


def test_another_sites_page_does_not(browser: httpx.Client) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    assert browser.post("/v1/runs", json=body(3), headers=headers).status_code == 403
    assert browser.post("/v1/render", json={"texts": []}, headers=headers).status_code == 403


def test_texts_are_rendered_in_their_order(browser: httpx.Client) -> None:
    texts = [f"*{number}* <script>" for number in range(200)]
    assert rendered(browser, *texts) == [f"<p><em>{number}</em> &lt;script&gt;</p>\n" for number in range(200)]
    assert rendered(browser) == []


@pytest.mark.parametrize(
    ("sent", "location"),
    [
        ({"texts": ["a"] * 201}, ["body", "texts"]),
        ({"texts": ["a" * (2**20 + 1)]}, ["body", "texts", 0]),
        ({"texts": ["a" * 2**19, "b" * 2**19, "c"]}, ["body"]),
        ({"texts": [1]}, ["body", "texts", 0]),
        ({"texts": ["a"], "html": True}, ["body", "html"]),
        ({}, ["body", "texts"]),
    ],
)
def test_too_much_is_refused(browser: httpx.Client, sent: dict[str, object], location: list[object]) -> None:
    response = browser.post("/v1/render", json=sent)
    assert response.status_code == 422
    assert [problem["loc"] for problem in response.json()["detail"]] == [location]


def test_half_a_sign_is_refused_or_shown(browser: httpx.Client) -> None:
    content = b'{"texts": ["a\\ud800b"]}'
    response = browser.post("/v1/render", content=content, headers={"Content-Type": "application/json"})
    assert response.status_code == 422


def test_a_text_that_takes_too_long_is_shown_as_it_is_and_holds_nobody_up(
    keyed: Process, browser: httpx.Client
) -> None:
    answered = 0
    with ThreadPoolExecutor(1) as pool:
        rendering = pool.submit(rendered, browser, SLOW, "*a*")
        while not rendering.done():
            httpx.get(f"{url_of(keyed)}/healthz").raise_for_status()
            answered += 1
        assert rendering.result() == [f"<pre>{SLOW}</pre>", "<p><em>a</em></p>\n"]
    assert answered > 5
    assert "text_not_rendered" in keyed.log.read_text()


def test_a_rendering_process_that_died_is_replaced(keyed: Process, browser: httpx.Client) -> None:
    assert rendered(browser, "*a*") == ["<p><em>a</em></p>\n"]
    [renderer] = children_of(keyed)
    os.kill(renderer, signal.SIGKILL)
    assert rendered(browser, "*b*", "*c*")[1] == "<p><em>c</em></p>\n"
    assert children_of(keyed) != [renderer]


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_no_rendering_process_stays_behind(redis_server: RedisServer, tmp_path: Path, ending: signal.Signals) -> None:
    process = api_process(tmp_path, redis_server.url).start()
    try:
        httpx.post(f"{url_of(process)}/v1/render", json={"texts": ["a"]}).raise_for_status()
        [renderer] = children_of(process)
        process.send(ending)
        wait_until(lambda: has_ended(renderer), what="renderer ended")
        assert "Traceback" not in process.log.read_text()
    finally:
        process.end()


def has_ended(pid: int) -> bool:
    """Gone, or left for its parent to look at."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True
