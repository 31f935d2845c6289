"""The pages: shells that a browser fills from `/v1`; no text of a conversation passes through a template."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse
from starlette.routing import Match
from starlette.types import Scope

from platolm import __version__
from services.orchestrator.dashboard.assets import Assets
from services.orchestrator.dashboard.reference import operations_by_tag
from services.orchestrator.runs.dependencies import RUN_ID_PATTERN

TEMPLATES = Path(__file__).parent / "templates"

_CONVERSATION_ID_PATTERN = r"[a-z0-9][a-z0-9-]{2,63}-[0-9]{8,9}"

router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)


class Pages:
    """Renders templates.

    Every one is given `static(path)`, `version`, `needs_key` (whether people log in at all), `logged_in` and the
    address's `path`.
    """

    def __init__(self, assets: Assets, *, needs_key: bool, folder: Path = TEMPLATES) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(folder), autoescape=True, undefined=StrictUndefined, trim_blocks=True
        )
        self._environment.globals |= {"static": assets.url, "version": __version__, "needs_key": needs_key}

    def page(self, request: Request, name: str, *, status: int = 200, **values: Any) -> HTMLResponse:
        """A template as an answer; `values` are what it is given besides."""
        given = {"path": request.url.path, "logged_in": True, **values}
        html = self._environment.get_template(name).render(given)
        return HTMLResponse(html, status, {"Cache-Control": "no-cache"})


def pages_of(request: Request) -> Pages:
    pages: Pages = request.app.state.pages
    return pages


@router.get("/")
async def live(request: Request) -> HTMLResponse:
    return pages_of(request).page(request, "live.html")


@router.get("/runs")
async def runs(request: Request) -> HTMLResponse:
    return pages_of(request).page(request, "runs.html")


@router.get("/runs/new")
async def new_run(request: Request) -> HTMLResponse:
    return pages_of(request).page(request, "new_run.html")


@router.get("/runs/{run_id}")
async def run(request: Request, run_id: str) -> HTMLResponse:
    return _of(request, "run.html", RUN_ID_PATTERN, run_id=run_id)


@router.get("/runs/{run_id}/conversations")
async def conversations(request: Request, run_id: str) -> HTMLResponse:
    return _of(request, "conversations.html", RUN_ID_PATTERN, run_id=run_id)


@router.get("/conversations/{conversation_id}")
async def conversation(request: Request, conversation_id: str) -> HTMLResponse:
    return _of(request, "conversation.html", _CONVERSATION_ID_PATTERN, conversation_id=conversation_id)


@router.get("/talk")
async def talk(request: Request) -> HTMLResponse:
    return pages_of(request).page(request, "talk.html")


@router.get("/talks")
async def talks(request: Request) -> HTMLResponse:
    return pages_of(request).page(request, "talks.html")


@router.get("/docs")
async def reference(request: Request) -> HTMLResponse:
    """The API's description; FastAPI's own pages for it load scripts from elsewhere."""
    return pages_of(request).page(request, "reference.html", tags=operations_by_tag(request.app.openapi()))


def is_page(scope: Scope) -> bool:
    """Whether one of the pages answers a request."""
    return any(route.matches(scope)[0] is Match.FULL for route in router.routes)


def missing(request: Request, detail: str) -> HTMLResponse:
    """The page of what is not there."""
    return pages_of(request).page(request, "missing.html", status=404, detail=detail)


def _of(request: Request, template: str, pattern: str, **ids: Any) -> HTMLResponse:
    """The page of what has an id; 404 for what cannot be one. Whether it exists, the page finds out."""
    wrong = [value for value in ids.values() if not re.fullmatch(pattern, value)]
    return missing(request, f"{wrong[0][:80]} is no id.") if wrong else pages_of(request).page(request, template, **ids)
