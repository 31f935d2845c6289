"""API keys: a Bearer token, compared in constant time."""

from __future__ import annotations

import hmac

from pydantic import SecretStr

from services.gateway.errors import RequestError
from services.gateway.settings import split_keys


def check_authorization(header: str | None, keys: SecretStr | None) -> None:
    """Let a request pass if its `Authorization` carries one of the keys, or if there are none.

    Raises:
        RequestError: 401.
    """
    if keys is None:
        return
    scheme, _, token = (header or "").partition(" ")
    offered = token.strip().encode() if scheme.lower() == "bearer" else b""
    matches = [hmac.compare_digest(offered, key.encode()) for key in split_keys(keys)]
    if not any(matches):
        message = "Incorrect API key provided." if offered else "No API key: send it as `Authorization: Bearer …`."
        raise RequestError(401, message, kind="authentication_error", code="invalid_api_key")
