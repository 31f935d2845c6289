from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from services.gateway.errors import MISUSE, StartError
from services.orchestrator.settings import ApiSettings
from services.orchestrator.web.auth import BearerAuth, check_host

KEYS = SecretStr("first-key-1234, second-key-1234")


def app(keys: SecretStr | None) -> FastAPI:
    app = FastAPI()
    app.add_middleware(BearerAuth, keys=keys)

    @app.get("/healthz")
    @app.get("/readyz")
    @app.get("/v1/runs")
    async def answer() -> str:
        return "in"

    return app


async def status(path: str, headers: list[tuple[str, str]], keys: SecretStr | None = KEYS) -> int:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(keys)), base_url="http://api") as client:
        return (await client.get(path, headers=headers)).status_code


@pytest.mark.parametrize(
    ("path", "headers", "expected"),
    [
        ("/v1/runs", [("Authorization", "Bearer first-key-1234")], 200),
        ("/v1/runs", [("Authorization", "bearer second-key-1234")], 200),
        ("/v1/runs", [("Authorization", "Bearer first-key-12345")], 401),
        ("/v1/runs", [("Authorization", "Bearer first-key-1234, second-key-1234")], 401),
        ("/v1/runs", [("Authorization", "Basic first-key-1234")], 401),
        ("/v1/runs", [("Authorization", "Bearer ")], 401),
        ("/v1/runs", [("Authorization", "Bearer wrong-key"), ("Authorization", "Bearer first-key-1234")], 401),
        ("/v1/runs", [], 401),
        ("/healthz", [], 200),
        ("/readyz", [], 200),
        ("/healthz/", [], 401),
        ("/docs", [], 401),
        ("/openapi.json", [], 401),
        ("/metrics", [], 401),
        ("/no-such-path", [], 401),
    ],
)
async def test_who_is_let_in(path: str, headers: list[tuple[str, str]], expected: int) -> None:
    assert await status(path, headers) == expected


async def test_without_keys_everybody_is_let_in() -> None:
    assert await status("/v1/runs", [], keys=None) == 200


async def test_a_refusal_says_what_to_do() -> None:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app(KEYS)), base_url="http://api") as client:
        response = await client.get("/v1/runs")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json() == {"detail": "No API key: send it as `Authorization: Bearer …`."}


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_loopback_needs_no_key(host: str) -> None:
    check_host(host, None)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.0.2.1", "no-such-host.invalid"])
def test_another_address_needs_one(host: str) -> None:
    with pytest.raises(StartError, match="PLATOLM_API_API_KEYS") as caught:
        check_host(host, None)
    assert caught.value.exit_code == MISUSE
    check_host(host, KEYS)


@pytest.mark.parametrize("keys", ["short", "change-me-please", "good-key-1234,short"])
def test_a_key_that_is_none_is_refused(keys: str) -> None:
    with pytest.raises(ValidationError):
        ApiSettings(api_keys=SecretStr(keys))


@pytest.mark.parametrize("keys", ["", " ", " , "])
def test_blank_keys_are_no_keys(keys: str) -> None:
    assert ApiSettings(api_keys=SecretStr(keys)).api_keys is None
