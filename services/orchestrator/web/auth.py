"""Who may use the API: bearer keys, a browser's session, and no public address without a key."""

from __future__ import annotations

import html
import socket
from collections.abc import Callable
from ipaddress import ip_address
from urllib.parse import quote

from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import HTTPConnection
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.errors import MISUSE, RequestError, StartError
from services.gateway.keys import check_authorization
from services.orchestrator.web.sessions import COOKIE, SAFE_METHODS, Sessions, is_from_here

LOGIN_PATH = "/login"
STATIC_PREFIX = "/static/"
OPEN_PATHS = frozenset({"/healthz", "/readyz", LOGIN_PATH})
"""What needs no key: a process manager has none, and who logs in not yet."""

_ELSEWHERE = "This request comes from another site's page: use the dashboard's own pages, or send the key as a header."
_PASS_ON = '<!doctype html><title>PlatoLM</title><meta http-equiv="refresh" content="0; url={url}">'


class BearerAuth:
    """ASGI middleware: every request but those to open paths carries a key or a session's cookie, or is answered 401.

    It stands before everything else, so that nothing of a stranger's request is read. A page asked for without a
    session leads to the login. What changes something and carries no key may not come from another site's page: a
    browser would send the cookie, or reach a server on loopback, for any page that it shows.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        keys: SecretStr | None,
        sessions: Sessions | None = None,
        is_page: Callable[[Scope], bool] = lambda _scope: False,
    ) -> None:
        self._app = app
        self._keys = keys
        self._sessions = sessions
        self._is_page = is_page

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope) if scope["type"] == "http" and not _is_open(scope["path"]) else None
        await (refusal or self._app)(scope, receive, send)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._keys is not None and (_has_bearer(headers) or not self._has_session(scope)):
            return self._without_session(scope, headers)
        may_come_from_anywhere = scope["method"] in SAFE_METHODS or "authorization" in headers
        if not may_come_from_anywhere and not is_from_here(headers, unless_said=self._keys is None):
            return _answer(RequestError(403, _ELSEWHERE, kind="permission_error"))
        return None

    def _has_session(self, scope: Scope) -> bool:
        return self._sessions is not None and self._sessions.hold(HTTPConnection(scope).cookies.get(COOKIE))

    def _without_session(self, scope: Scope, headers: Headers) -> Response | None:
        given = headers.getlist("authorization")
        try:
            check_authorization(given[0] if len(given) == 1 else None, self._keys)
        except RequestError as error:
            is_page = not given and scope["method"] in ("GET", "HEAD") and self._is_page(scope)
            return _to_login(scope, headers) if is_page else _answer(error)
        return None


def _is_open(path: str) -> bool:
    return path in OPEN_PATHS or path.startswith(STATIC_PREFIX)


def _has_bearer(headers: Headers) -> bool:
    return any(value.lower().startswith("bearer") for value in headers.getlist("authorization"))


def _to_login(scope: Scope, headers: Headers) -> Response:
    """To the login, and from there back to the page.

    A link on another site brings no cookie (SameSite=Strict), but what our own page goes on to does: the login then
    sees the session that is there.
    """
    query = f"?{scope['query_string'].decode('latin-1')}" if scope["query_string"] else ""
    url = f"{LOGIN_PATH}?next={quote(quote(scope['path']) + query, safe='')}"
    if headers.get("sec-fetch-site", "none") in ("cross-site", "same-site"):
        return HTMLResponse(_PASS_ON.format(url=html.escape(url)), headers={"Cache-Control": "no-store"})
    return RedirectResponse(url, 303, {"Cache-Control": "no-store"})


def check_host(host: str, keys: SecretStr | None) -> None:
    """Let an API without keys listen on this machine's loopback only.

    Raises:
        StartError: others could reach it (exit code 2).
    """
    if keys is None and not _is_loopback(host):
        raise StartError(
            f"{host or 'every address'} can be reached from other machines: set PLATOLM_API_API_KEYS "
            "(make a key with `openssl rand -hex 24`), or listen on 127.0.0.1",
            exit_code=MISUSE,
        )


def _is_loopback(host: str) -> bool:
    """Whether every address that a host stands for is loopback; an unknown one is not."""
    if not host:
        return False
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return False
    return all(ip_address(address[0]).is_loopback for *_, address in found)


def _answer(refusal: RequestError) -> JSONResponse:
    headers = {**refusal.headers, "Connection": "close"}
    return JSONResponse({"detail": refusal.message}, status_code=refusal.status, headers=headers)
