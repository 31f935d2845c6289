"""Pages: which there are, what holds them in, and that they load nothing from elsewhere."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import httpx
import pytest

from services.orchestrator.dashboard.pages import TEMPLATES
from services.orchestrator.dashboard.security import CONTENT_SECURITY_POLICY
from tests.unit.orchestrator.dashboard.served import PAGES, browser, log_in, served

POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
EVERYWHERE = [
    *PAGES,
    "/login",
    "/no-such-page",
    "/static/no-such-file",
    "/healthz",
    "/openapi.json",
    "/v1/no-such-thing",
]


class Loaded(HTMLParser):
    """What a page loads, what scripts or styles stand in it, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.inline: list[str] = []
        self.tags: list[str] = []
        self.titles: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.tags.append(tag)
        if tag in ("script", "img", "iframe"):
            self.addresses.append(given.get("src") or "")
        if tag == "link":
            self.addresses.append(given.get("href") or "")
        self.inline += [name for name in given if name == "style" or name.startswith("on")]
        self.inline += [tag] if tag == "style" or (tag == "script" and not given.get("src")) else []

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "title" and data.strip():
            self.titles.append(data.strip())


def loaded(html: str) -> Loaded:
    parser = Loaded()
    parser.feed(html)
    return parser


@pytest.mark.parametrize("path", [*PAGES, "/login"])
async def test_a_page_loads_only_what_is_here(path: str) -> None:
    app = served() if path == "/login" else served(None)
    async with browser(app) as client:
        response = await client.get(path)
        assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
        page = loaded(response.text)
        assert page.inline == []
        assert page.tags.count("h1") == 1
        assert page.titles[0].endswith("PlatoLM")
        for address in page.addresses:
            assert re.match(r"/static/[0-9a-f]{12}/", address)
            found = await client.get(address)
            assert (found.status_code, "immutable" in found.headers["cache-control"]) == (200, True), address


async def test_modules_import_only_what_is_here() -> None:
    imports = re.compile(r'\bfrom "([^"]+)";$|^import "([^"]+)";$|\bimport\("([^"]+)"', re.MULTILINE)
    folder = TEMPLATES.parent / "static" / "js"
    for path in folder.glob("*.js"):
        for name in map("".join, imports.findall(path.read_text(encoding="utf-8"))):
            assert name.startswith("./"), f"{path.name} imports {name}"
            assert (folder / name).is_file(), f"{path.name} imports {name}"


async def test_every_template_is_there() -> None:
    async with browser(served(None)) as client:
        statuses = {path: (await client.get(path)).status_code for path in PAGES}
    assert set(statuses.values()) == {200}, statuses


@pytest.mark.parametrize("path", EVERYWHERE)
@pytest.mark.parametrize("state", ["without keys", "logged in", "logged out"])
async def test_every_answer_is_held_in(path: str, state: str) -> None:
    async with browser(served(None) if state == "without keys" else served()) as client:
        if state == "logged in":
            await log_in(client)
        response = await client.get(path)
    policy = dict(part.strip().split(" ", 1) for part in response.headers["content-security-policy"].split(";"))
    assert policy == POLICY
    assert response.headers["x-content-type-options"] == "nosniff"
    assert response.headers["referrer-policy"] == "same-origin"
    assert response.headers["cross-origin-opener-policy"] == "same-origin"


def test_the_policy_allows_nothing_unsafe() -> None:
    assert "unsafe" not in CONTENT_SECURITY_POLICY
    assert "*" not in CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(
    "path",
    ["/runs/UPPER", "/runs/<script>", "/runs/x/conversations", "/conversations/run-1", "/conversations/a-00000001"],
)
async def test_what_cannot_be_an_id(path: str) -> None:
    async with browser(served(None)) as client:
        response = await client.get(path)
    assert response.status_code == 404
    assert "<script>" not in response.text
    assert loaded(response.text).inline == []
    assert "is no id." in response.text


async def test_an_address_that_nothing_serves_is_told_to_people_and_to_programs() -> None:
    async with browser(served(None)) as client:
        page = await client.get("/no-such-page", headers={"Accept": "text/html,*/*"})
        answer = await client.get("/no-such-page")
        of_the_api = await client.get("/v1/no-such-thing", headers={"Accept": "text/html,*/*"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no such page" in page.text
    assert (answer.status_code, answer.json()) == (404, {"detail": "Not Found"})
    assert (of_the_api.status_code, of_the_api.json()) == (404, {"detail": "Not Found"})


async def test_pages_are_no_part_of_the_apis_description() -> None:
    async with browser(served(None)) as client:
        paths = (await client.get("/openapi.json")).json()["paths"]
    assert [path for path in paths if not path.startswith("/v1/")] == ["/metrics", "/healthz", "/readyz"]


async def test_the_reference_has_every_operation() -> None:
    async with browser(served(None)) as client:
        described = (await client.get("/openapi.json")).json()["paths"]
        page: httpx.Response = await client.get("/docs")
    wanted = [(method.upper(), path) for path, methods in described.items() for method in methods]
    shown = re.findall(r'<span class="operation__method">(\w+)</span> <code>([^<]+)</code>', page.text)
    assert sorted(shown) == sorted(wanted)
    assert "<code>limit</code>" in page.text
    assert "integer 1..200" in page.text
    assert "Body: <code>RunRequest</code>" in page.text
    assert "text/event-stream" in page.text
