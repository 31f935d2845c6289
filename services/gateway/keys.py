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
    offered = token.strip() if scheme.lower() == "bearer" else ""
    if matching_key(offered, keys) is None:
        message = "Incorrect API key provided." if offered else "No API key: send it as `Authorization: Bearer …`."
        raise RequestError(401, message, kind="authentication_error", code="invalid_api_key")


def matching_key(offered: str, keys: SecretStr) -> str | None:
    """The one of the keys that was offered, if it is one; all are compared, in constant time."""
    matches = [key for key in split_keys(keys) if hmac.compare_digest(offered.encode(), key.encode())]
    return matches[0] if matches else None
