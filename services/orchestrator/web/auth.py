"""Who may use the API: bearer keys, and no public address without one."""

from __future__ import annotations

import socket
from ipaddress import ip_address

from pydantic import SecretStr
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from services.gateway.errors import MISUSE, RequestError, StartError
from services.gateway.keys import check_authorization

OPEN_PATHS = frozenset({"/healthz", "/readyz"})
"""What needs no key: a process manager has none."""


class BearerAuth:
    """ASGI middleware: every request but those to `OPEN_PATHS` carries one of the keys, or is answered 401.

    It stands before everything else, so that nothing of a stranger's request is read.
    """

    def __init__(self, app: ASGIApp, *, keys: SecretStr | None) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            refusal = self._refusal(scope)
            if refusal is not None:
                await _answer(refusal)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _refusal(self, scope: Scope) -> RequestError | None:
        headers: list[tuple[bytes, bytes]] = scope["headers"]
        given = [value.decode("latin-1") for name, value in headers if name == b"authorization"]
        try:
            check_authorization(given[0] if len(given) == 1 else None, self._keys)
        except RequestError as error:
            return error
        return None


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
