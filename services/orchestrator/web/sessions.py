"""A browser's session: a signed cookie that says with which key it logged in, and where its requests may come from."""

from __future__ import annotations

import hashlib
from urllib.parse import urlsplit

from itsdangerous import BadSignature, TimestampSigner
from pydantic import SecretStr
from starlette.datastructures import Headers

from services.gateway.settings import split_keys

COOKIE = "platolm_session"
LIFETIME_S = 7 * 24 * 3600
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_VALUE = "logged-in"
_SALT = b"platolm-session"
_SCRYPT_N, _SCRYPT_R, _SCRYPT_P = 2**14, 8, 1


class Sessions:
    """Makes and checks cookies. Each is signed with what follows from one key, so that it ends where the key does.

    A cookie holds no state: every process with the same keys takes it, also after a restart.
    """

    def __init__(self, keys: SecretStr) -> None:
        self._signers = {key: _signer(key) for key in split_keys(keys)}

    def new(self, key: str) -> str:
        """A cookie's value for somebody who gave one of the keys.

        Raises:
            KeyError: it is none of them.
        """
        return self._signers[key].sign(_VALUE).decode("ascii")

    def hold(self, cookie: str | None) -> bool:
        """Whether a cookie was made with one of the keys, at most `LIFETIME_S` ago."""
        return cookie is not None and any(_is_signed(signer, cookie) for signer in self._signers.values())


def is_from_here(headers: Headers, *, unless_said: bool) -> bool:
    """Whether a browser's request comes from a page of this server, or was typed by its user.

    Browsers say so themselves in `Sec-Fetch-Site`; over plain HTTP to another machine they leave that out, and the
    `Origin` of the page has to be the `Host` that was asked.

    Args:
        unless_said: the answer for a request with neither header.
    """
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return unless_said
    return _authority(origin) == headers.get("host", "").lower()


def _authority(origin: str) -> str | None:
    """Host and port of an `Origin`; None for the opaque one, `null`."""
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _signer(key: str) -> TimestampSigner:
    # Slow on purpose: who sees a cookie cannot try keys against its signature by the million.
    secret = hashlib.scrypt(key.encode(), salt=_SALT, n=_SCRYPT_N, r=_SCRYPT_R, p=_SCRYPT_P)
    return TimestampSigner(secret, salt=_SALT, key_derivation="hmac", digest_method=hashlib.sha256)


def _is_signed(signer: TimestampSigner, cookie: str) -> bool:
    try:
        return signer.unsign(cookie, max_age=LIFETIME_S).decode("ascii") == _VALUE
    except BadSignature:
        return False
