"""Puts the dashboard into the API's app."""

from __future__ import annotations

from fastapi import FastAPI, HTTPException, Request
from fastapi.exception_handlers import http_exception_handler
from starlette.responses import Response

from services.orchestrator.dashboard import login, pages
from services.orchestrator.dashboard.assets import STATIC_URL, Assets
from services.orchestrator.dashboard.pages import Pages


def add_dashboard(app: FastAPI, *, needs_key: bool) -> None:
    """The pages, the login and the static files.

    Args:
        needs_key: whether there is somebody to log out.
    """
    assets = Assets()
    app.state.pages = Pages(assets, needs_key=needs_key)
    app.include_router(pages.router)
    app.include_router(login.router)
    app.mount(STATIC_URL, assets, name="static")

    @app.exception_handler(404)
    async def not_found(request: Request, error: HTTPException) -> Response:
        """A page for who looks with a browser; programs, and our own scripts, get JSON."""
        if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith("/v1/"):
            return pages.missing(request, "Nothing is served at this address.")
        return await http_exception_handler(request, error)
