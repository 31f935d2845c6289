"""Static files: an address changes with the content, and only what it names is served."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from services.orchestrator.dashboard.assets import Assets


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "static"
    (folder / "js").mkdir(parents=True)
    (folder / "app.css").write_text("body {}")
    (folder / "js" / "dom.js").write_text("export {}")
    (tmp_path / "secret.txt").write_text("secret")
    return folder


@pytest.fixture
def assets(folder: Path) -> Assets:
    return Assets(folder, look_every_s=0.0)


async def got(assets: Assets, path: str, **headers: str) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(assets), base_url="http://api") as client:
        return await client.get(path.removeprefix("/static"), headers=headers)


async def test_the_address_of_a_file_is_for_good(assets: Assets) -> None:
    response = await got(assets, assets.url("js/dom.js"))
    assert (response.status_code, response.text) == (200, "export {}")
    assert response.headers["content-type"] == "text/javascript; charset=utf-8"
    assert response.headers["cache-control"] == "public, max-age=31536000, immutable"


@pytest.mark.parametrize("path", ["/static/app.css", "/static/0123456789ab/app.css"])
async def test_another_version_is_asked_for_again(assets: Assets, path: str) -> None:
    response = await got(assets, path)
    assert (response.status_code, response.text) == (200, "body {}")
    assert response.headers["cache-control"] == "no-cache"
    again = await got(assets, path, **{"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.text, again.headers["cache-control"]) == (304, "", "no-cache")


@pytest.mark.parametrize("name", ["app.css", "js/dom.js"])
async def test_any_change_changes_every_address(assets: Assets, folder: Path, name: str) -> None:
    before = assets.url("app.css")
    (folder / name).write_text("a {} /* longer */")
    after = assets.url("app.css")
    assert after != before
    assert (await got(assets, before)).headers["cache-control"] == "no-cache"
    assert "immutable" in (await got(assets, after)).headers["cache-control"]


def test_a_new_name_changes_the_addresses_and_a_new_time_does_not(assets: Assets, folder: Path) -> None:
    before = assets.url("app.css")
    (folder / "app.css").write_text("body {}")
    assert assets.url("app.css") == before
    (folder / "app.css").rename(folder / "other.css")
    assert assets.url("app.css") != before


def test_two_copies_have_the_same_addresses(assets: Assets, folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    for path in sorted(folder.rglob("*.*"), reverse=True):
        target = copy / path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    assert Assets(copy).digest() == assets.digest()


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/0123456789ab/../../secret.txt", "/0123456789ab/%2e%2e/secret.txt",
     "/0123456789ab//etc/passwd", "/0123456789ab/0123456789ab/app.css", "/js", "/", "/0123456789ab/", "/no.css"],
)  # fmt: skip
async def test_nothing_else_is_served(assets: Assets, path: str) -> None:
    app = httpx.ASGITransport(assets, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=app, base_url="http://api") as client:
        request = client.build_request("GET", "http://api/x")
        request.url = request.url.copy_with(raw_path=path.encode())
        try:
            response = await client.send(request)
        except Exception as error:
            raise AssertionError(path) from error
    assert response.status_code != 200, path
