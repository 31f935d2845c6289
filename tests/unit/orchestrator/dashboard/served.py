"""The API's app without Redis, as a browser asks it."""

from __future__ import annotations

from functools import cache

import httpx
from fastapi import FastAPI
from pydantic import SecretStr

from services.orchestrator.app import create_app
from services.orchestrator.dashboard.login import Door
from services.orchestrator.settings import ApiSettings

KEY, OTHER_KEY = "first-key-1234", "second-key-1234"
KEYS = SecretStr(f"{KEY},{OTHER_KEY}")
URL = "http://api:8000"
HERE = {"Origin": URL}
PAGES = [
    "/",
    "/runs",
    "/runs/new",
    "/runs/run-0123456789ab",
    "/runs/run-0123456789ab/conversations",
    "/conversations/run-0123456789ab-00000012",
    "/conversations/talks-00000012",
    "/talk",
    "/talks",
    "/docs",
]


@cache
def served(keys: SecretStr | None = KEYS) -> FastAPI:
    """The app, one for all tests; a wrong key is answered at once."""
    return served_with(Door(keys, delay_s=0.0), keys)


def served_with(door: Door, keys: SecretStr | None = KEYS) -> FastAPI:
    """An app of its own, with another door."""
    app = create_app(ApiSettings(api_keys=keys))
    app.state.door = door
    return app


def browser(app: FastAPI, url: str = URL) -> httpx.AsyncClient:
    """Keeps cookies and follows no redirect."""
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=url)


async def log_in(client: httpx.AsyncClient, key: str = KEY, **fields: str) -> httpx.Response:
    return await client.post(
        "/login", data={"key": key, **fields}, headers={"Origin": str(client.base_url).rstrip("/")}
    )
