"""Login with a key of the API: a form, a cookie, and few tries at a time."""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Annotated
from urllib.parse import parse_qs, urlsplit

import structlog
from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import SecretStr
from starlette.responses import HTMLResponse, RedirectResponse, Response

from services.gateway.keys import matching_key
from services.orchestrator.dashboard.pages import pages_of
from services.orchestrator.web.auth import LOGIN_PATH
from services.orchestrator.web.sessions import COOKIE, LIFETIME_S, Sessions, is_from_here

WRONG_KEY = "This is not a key of this server."
TOO_MANY = "Too many wrong keys from your address: wait a few seconds, then try again."
NOT_FROM_HERE = "The form was sent from another site: log in on this page."
_MAX_FORM_BYTES = 16 * 1024
_FORM = "application/x-www-form-urlencoded"

logger = structlog.get_logger(__name__)
router = APIRouter(include_in_schema=False)


class Door:
    """Who may come in: the right key at once; a wrong one is answered late, and few of an address at a time.

    Without the bound, guesses would only have to be sent side by side.
    """

    def __init__(self, keys: SecretStr | None, *, delay_s: float = 1.0, max_waiting: int = 3) -> None:
        self.sessions = Sessions(keys) if keys is not None else None
        self._keys = keys
        self._delay_s = delay_s
        self._max_waiting = max_waiting
        self._waiting: Counter[str] = Counter()

    def is_in(self, request: Request) -> bool:
        """Whether the browser needs no login: there are no keys, or it has a session."""
        return self.sessions is None or self.sessions.hold(request.cookies.get(COOKIE))

    async def opened(self, offered: str, address: str) -> str:
        """A cookie's value.

        Raises:
            HTTPException: 401 for a wrong key, 429 while too many wrong ones of this address wait for their answer.
        """
        if self._waiting[address] >= self._max_waiting:
            raise HTTPException(HTTPStatus.TOO_MANY_REQUESTS, TOO_MANY)
        key = None if self._keys is None else matching_key(offered, self._keys)
        if key is not None and self.sessions is not None:
            return self.sessions.new(key)
        await self._wait(address)
        raise HTTPException(HTTPStatus.UNAUTHORIZED, WRONG_KEY)

    async def _wait(self, address: str) -> None:
        self._waiting[address] += 1
        try:
            await asyncio.sleep(self._delay_s)
        finally:
            self._waiting[address] -= 1
            self._waiting += Counter()  # drops addresses of which none waits


@router.get(LOGIN_PATH)
async def form(request: Request, wanted: Annotated[str, Query(alias="next")] = "/") -> Response:
    if _door(request).is_in(request):
        return RedirectResponse(own_path(wanted), HTTPStatus.SEE_OTHER)
    return _page(request, wanted)


@router.post(LOGIN_PATH)
async def log_in(request: Request) -> Response:
    given = await _form_of(request)
    wanted = own_path(given.get("next", "/"))
    door = _door(request)
    if door.sessions is None:
        return RedirectResponse(wanted, HTTPStatus.SEE_OTHER)
    if not is_from_here(request.headers, unless_said=True):
        return _page(request, wanted, HTTPStatus.FORBIDDEN, NOT_FROM_HERE)
    address = request.client.host if request.client else ""
    try:
        value = await door.opened(given.get("key", "").strip(), address)
    except HTTPException as refusal:
        logger.warning("login_refused", status=refusal.status_code, address=address)
        return _page(request, wanted, refusal.status_code, refusal.detail)
    response = RedirectResponse(wanted, HTTPStatus.SEE_OTHER)
    is_tls = request.url.scheme == "https"
    response.set_cookie(COOKIE, value, max_age=LIFETIME_S, httponly=True, samesite="strict", secure=is_tls)
    return response


@router.post("/logout")
async def log_out(request: Request) -> Response:
    response = RedirectResponse(LOGIN_PATH, HTTPStatus.SEE_OTHER)
    is_tls = request.url.scheme == "https"
    response.delete_cookie(COOKIE, httponly=True, samesite="strict", secure=is_tls)
    return response


def own_path(wanted: str) -> str:
    """`wanted` if it is a path of this server and nothing that a browser takes for another's; else `/`.

    Browsers read a backslash as a slash and leave out tabs and line ends, so that neither may stand there.
    """
    if not wanted.startswith("/") or wanted.startswith("//") or "\\" in wanted or not wanted.isprintable():
        return "/"
    try:
        parts = urlsplit(wanted)
    except ValueError:
        return "/"
    return wanted if not parts.netloc and parts.path not in (LOGIN_PATH, "/logout") else "/"


def _page(request: Request, wanted: str, status: int = HTTPStatus.OK, problem: str | None = None) -> HTMLResponse:
    values = {"logged_in": False, "next": own_path(wanted), "problem": problem}
    response = pages_of(request).page(request, "login.html", status=status, **values)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        response.headers["Retry-After"] = "3"
    return response


async def _form_of(request: Request) -> dict[str, str]:
    """The fields of a form, each at most once.

    Raises:
        HTTPException: 413 or 415: no such form.
    """
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != _FORM:
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"the form is sent as {_FORM}")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MAX_FORM_BYTES:
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is larger than any key")
    fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)
    return {name: values[0] for name, values in fields.items()}


def _door(request: Request) -> Door:
    door: Door = request.app.state.door
    return door
