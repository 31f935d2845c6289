"""Login: who gets a cookie, what it opens, and where it leads."""

from __future__ import annotations

import asyncio
from http.cookies import SimpleCookie
from urllib.parse import quote

import httpx
import pytest
from fastapi import HTTPException
from pydantic import SecretStr

from services.orchestrator.dashboard.login import TOO_MANY, WRONG_KEY, Door, own_path
from services.orchestrator.web.sessions import COOKIE, Sessions
from tests.unit.orchestrator.dashboard.served import (
    HERE,
    KEY,
    KEYS,
    OTHER_KEY,
    PAGES,
    URL,
    browser,
    log_in,
    served,
    served_with,
)

OUTSIDE = [
    "//evil.example",
    "//evil.example/runs",
    "https://evil.example",
    "https:evil.example",
    "http://api:8000/runs",
    "javascript:alert(1)",
    "/\\evil.example",
    "\\\\evil.example",
    "/runs\\..\\..",
    "/\t/evil.example",
    "/\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "///evil.example",
    "runs",
    "",
    "/login",
    "/login?next=/runs",
    "/logout",
    "//[",
]


@pytest.mark.parametrize("wanted", OUTSIDE)
def test_a_way_out_of_this_server_leads_home(wanted: str) -> None:
    assert own_path(wanted) == "/"


@pytest.mark.parametrize("wanted", ["/", "/runs", "/runs?q=a%20b&ending=x", "/?run=run-1#turn-3", "/runs/x:y", "/a//b"])
def test_a_way_inside_is_kept(wanted: str) -> None:
    assert own_path(wanted) == wanted


@pytest.mark.parametrize("key", [KEY, OTHER_KEY, f" {KEY}\n"])
async def test_a_key_opens_everything(key: str) -> None:
    async with browser(served()) as client:
        assert (await client.get("/openapi.json")).status_code == 401
        response = await log_in(client, key, next="/runs?q=1")
        assert (response.status_code, response.headers["location"]) == (303, "/runs?q=1")
        assert (await client.get("/openapi.json")).status_code == 200
        assert (await client.get("/docs")).status_code == 200


@pytest.mark.parametrize(("url", "is_secure"), [(URL, False), ("https://api", True)])
async def test_the_cookie_is_kept_from_scripts_and_other_sites(url: str, is_secure: bool) -> None:
    async with browser(served(), url) as client:
        cookie = SimpleCookie((await log_in(client)).headers["set-cookie"])[COOKIE]
    assert (cookie["httponly"], cookie["samesite"], cookie["path"]) == (True, "strict", "/")
    assert cookie["max-age"] == str(7 * 24 * 3600)
    assert bool(cookie["secure"]) == is_secure
    assert cookie["domain"] == ""


@pytest.mark.parametrize("key", ["", "wrong", KEY.upper(), f"{KEY},{OTHER_KEY}", KEY[:-1], "é"])
async def test_a_wrong_key(key: str) -> None:
    async with browser(served()) as client:
        response = await log_in(client, key, next="/runs")
        assert response.status_code == 401
        assert "set-cookie" not in response.headers
        assert WRONG_KEY in response.text
        assert 'role="alert"' in response.text
        assert 'name="next" value="/runs"' in response.text
        assert (await client.get("/openapi.json")).status_code == 401


async def test_the_form() -> None:
    async with browser(served()) as client:
        response = await client.get("/login", params={"next": '/runs?q="><script>'})
    assert response.status_code == 200
    assert 'role="alert"' not in response.text
    assert 'value="/runs?q=&#34;&gt;&lt;script&gt;"' in response.text


@pytest.mark.parametrize("wanted", OUTSIDE)
async def test_nobody_is_sent_away(wanted: str) -> None:
    async with browser(served()) as client:
        assert 'name="next" value="/"' in (await client.get("/login", params={"next": wanted})).text
        assert (await log_in(client, next=wanted)).headers["location"] == "/"
        assert (await client.get("/login", params={"next": wanted})).headers["location"] == "/"


async def test_who_is_in_needs_no_form() -> None:
    async with browser(served()) as client:
        await log_in(client)
        response = await client.get("/login?next=/talk")
    assert (response.status_code, response.headers["location"]) == (303, "/talk")


async def test_without_keys_there_is_nothing_to_log_in_to() -> None:
    async with browser(served(None)) as client:
        assert (await client.get("/login?next=/talk")).headers["location"] == "/talk"
        response = await log_in(client, next="/talk")
        assert (response.headers["location"], response.headers.get("set-cookie")) == ("/talk", None)
        assert "Log out" not in (await client.get("/docs")).text


async def test_logging_out() -> None:
    async with browser(served()) as client:
        await log_in(client)
        assert "Log out" in (await client.get("/docs")).text
        response = await client.post("/logout", headers=HERE)
        assert (response.status_code, response.headers["location"]) == (303, "/login")
        assert (await client.get("/openapi.json")).status_code == 401


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_without_a_session_leads_to_the_login_and_back(path: str) -> None:
    async with browser(served()) as client:
        response = await client.get(f"{path}?q=a%20b&c=%C3%A9")
        assert response.status_code == 303
        assert response.headers["location"] == f"/login?next={quote(f'{path}?q=a%20b&c=%C3%A9', safe='')}"
        assert (await client.get(response.headers["location"])).status_code == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
async def test_a_link_on_another_site_finds_the_session(site: str) -> None:
    """The browser sends no cookie with it, but does with what this answer makes it ask for."""
    async with browser(served()) as client:
        response = await client.get('/runs?q="><b>', headers={"Sec-Fetch-Site": site})
    assert response.status_code == 200
    assert (
        '<meta http-equiv="refresh" content="0; url=/login?next=%2Fruns%3Fq%3D%2522%253E%253Cb%253E">' in response.text
    )


@pytest.mark.parametrize(
    "request_of",
    [
        httpx.Request("GET", f"{URL}/v1/runs"),
        httpx.Request("GET", f"{URL}/no-such-path"),
        httpx.Request("POST", f"{URL}/runs"),
        httpx.Request("POST", f"{URL}/logout"),
        httpx.Request("GET", f"{URL}/runs", headers={"Authorization": "Bearer wrong"}),
        httpx.Request("GET", f"{URL}/Login"),
        httpx.Request("GET", f"{URL}/login/"),
        httpx.Request("GET", f"{URL}/staticfiles"),
    ],
    ids=lambda request: f"{request.method} {request.url.path}",
)
async def test_everything_else_without_a_session_is_refused(request_of: httpx.Request) -> None:
    async with browser(served()) as client:
        assert (await client.send(request_of)).status_code == 401


@pytest.mark.parametrize(
    "cookie",
    [Sessions(SecretStr("another-key-1234")).new("another-key-1234"), "logged-in.awQkUw.tampered", ""],
    ids=["of another key", "tampered", "empty"],
)
async def test_a_cookie_that_opens_nothing(cookie: str) -> None:
    async with browser(served()) as client:
        client.cookies.set(COOKIE, cookie)
        assert (await client.get("/openapi.json")).status_code == 401
        assert (await client.get("/runs")).status_code == 303


async def test_a_wrong_bearer_key_counts_more_than_a_cookie() -> None:
    async with browser(served()) as client:
        await log_in(client)
        assert (await client.get("/openapi.json", headers={"Authorization": "Bearer wrong"})).status_code == 401
        # A proxy with a password of its own passes that on.
        assert (await client.get("/openapi.json", headers={"Authorization": "Basic abc"})).status_code == 200


ELSEWHERE = [
    {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    {"Sec-Fetch-Site": "same-site", "Origin": "http://other.api:8000"},
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://api:8001"},
]
RENDER = {"texts": ["*a*"]}


@pytest.mark.parametrize("headers", [*ELSEWHERE, {}], ids=str)
async def test_a_cookie_changes_nothing_from_elsewhere(headers: dict[str, str]) -> None:
    async with browser(served()) as client:
        await log_in(client)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            response = await client.request(method, "/v1/runs/run-0123456789ab/cancel", headers=headers)
            assert response.status_code == 403, method
        assert "another site's page" in response.json()["detail"]
        assert (await client.post("/logout", headers=headers)).status_code == 403
        assert (await client.get("/openapi.json", headers=headers)).status_code == 200


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, HERE], ids=str)
async def test_a_cookie_does_from_here(headers: dict[str, str]) -> None:
    async with browser(served()) as client:
        await log_in(client)
        assert (await client.post("/logout", headers=headers)).status_code == 303


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
async def test_a_key_does_from_everywhere(headers: dict[str, str]) -> None:
    async with browser(served()) as client:
        response = await client.post("/logout", headers={**headers, "Authorization": f"Bearer {KEY}"})
    assert response.status_code == 303


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
async def test_on_loopback_without_keys_other_sites_change_nothing_either(headers: dict[str, str]) -> None:
    async with browser(served(None)) as client:
        assert (await client.post("/v1/runs/run-0123456789ab/cancel", headers=headers)).status_code == 403
        assert (await client.post("/logout", headers={})).status_code == 303
        assert (await client.post("/logout", headers=HERE)).status_code == 303


async def test_another_sites_form_logs_nobody_in() -> None:
    async with browser(served()) as client:
        headers = {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"}
        response = await client.post("/login", data={"key": KEY}, headers=headers)
    assert (response.status_code, "set-cookie" in response.headers) == (403, False)
    assert 'role="alert"' in response.text


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"key=" + b"x" * 20_000, "application/x-www-form-urlencoded", 413),
        (b'{"key": "x"}', "application/json", 415),
        (b"key=x", "text/plain", 415),
        (b"\xff\xfe=%ff&key", "application/x-www-form-urlencoded; charset=utf-8", 401),
        (b"", "application/x-www-form-urlencoded", 401),
    ],
)
async def test_what_is_no_form(content: bytes, kind: str, status: int) -> None:
    async with browser(served()) as client:
        response = await client.post("/login", content=content, headers={**HERE, "Content-Type": kind})
    assert response.status_code == status


async def test_wrong_keys_are_answered_late_and_few_at_a_time() -> None:
    loop = asyncio.get_running_loop()
    door = Door(KEYS, delay_s=0.2, max_waiting=2)
    began = loop.time()
    waiting = [asyncio.create_task(door.opened("wrong", "192.0.2.1")) for _ in range(2)]
    await asyncio.sleep(0)
    # The right one neither: else guesses would only have to be many.
    for key in ("wrong", KEY):
        with pytest.raises(HTTPException, match=TOO_MANY) as caught:
            await door.opened(key, "192.0.2.1")
        assert caught.value.status_code == 429
    assert await door.opened(KEY, "192.0.2.2")
    assert loop.time() - began < 0.2
    refusals = await asyncio.gather(*waiting, return_exceptions=True)
    assert [getattr(refusal, "status_code", None) for refusal in refusals] == [401, 401]
    assert loop.time() - began >= 0.2
    assert await door.opened(KEY, "192.0.2.1")


async def test_too_many_tries_are_told() -> None:
    async with browser(served_with(Door(KEYS, max_waiting=0))) as client:
        response = await log_in(client)
    assert (response.status_code, response.headers["retry-after"]) == (429, "3")
    assert TOO_MANY in response.text
