"""Which URLs of a spec the operator allows: compared by scheme, host, port and path segments, never as strings."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}
_TRICKS = ("\\", "%", "?", "#", "@")
"""What one reader of a URL takes for a separator and another does not."""
_CHAIN = "::"  # between fsspec's file systems: `zip://a::file:///b`


@dataclass(frozen=True)
class Place:
    """A URL taken apart: `authority` is the host and port, a bucket, or nothing."""

    scheme: str
    authority: str
    segments: tuple[str, ...]

    def is_below(self, prefix: Place) -> bool:
        """Whether it is the prefix or lies below it."""
        same_root = (self.scheme, self.authority) == (prefix.scheme, prefix.authority)
        return same_root and self.segments[: len(prefix.segments)] == prefix.segments


def place_of(url: str) -> Place:
    """Take a URL apart.

    Raises:
        ValueError: it is none, or has parts that readers of URLs disagree on.
    """
    if not url.isprintable() or " " in url or any(trick in url for trick in _TRICKS):
        raise ValueError("must have no spaces, backslashes, %, ?, # or @")
    scheme, separator, rest = url.partition("://")
    if not (separator and scheme.isascii() and rest):
        raise ValueError("must look like scheme://place")
    authority, _, path = rest.partition("/")
    if _CHAIN in path or (_CHAIN in authority and not authority.startswith("[")):
        raise ValueError("must name one file system")
    segments = tuple(path.removesuffix("/").split("/")) if path else ()
    if not {"", ".", ".."}.isdisjoint(segments):
        raise ValueError("must have no empty, `.` or `..` parts")
    return Place(scheme.lower(), _authority(scheme.lower(), authority), segments)


def refusal_of(url: str, allowed: Sequence[str], *, setting: str) -> str | None:
    """Why a URL may not be used, in words; None where it may. `setting` names what the operator would change."""
    try:
        place = place_of(url)
    except ValueError as error:
        return str(error)
    if any(place.is_below(prefix) for prefix in map(place_of, allowed)):
        return None
    return f"is not below a URL that the operator allows ({setting})"


def check_prefixes(urls: Iterable[str]) -> None:
    """See that an operator's list can be compared with.

    Raises:
        ValueError: one of them is no URL.
    """
    for url in urls:
        try:
            place_of(url)
        except ValueError as error:
            raise ValueError(f"{url}: {error}") from error


def _authority(scheme: str, authority: str) -> str:
    """For HTTP the host in lower case with its port; otherwise (a bucket) as it is."""
    if scheme not in _DEFAULT_PORTS:
        return authority
    parts = urlsplit(f"//{authority}")
    if not parts.hostname or authority.endswith(":"):
        raise ValueError("must name a host")
    return f"{parts.hostname.rstrip('.')}:{_DEFAULT_PORTS[scheme] if parts.port is None else parts.port}"
