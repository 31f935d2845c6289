"""The dashboard's static files, under addresses that change with their content.

Everything lies below `/static/DIGEST/`, one digest for all files: a module that imports `./dom.js` gets the one of its
own version, without a build step that rewrites imports. Such an address may be cached for good; an upgrade has another.
"""

from __future__ import annotations

import hashlib
import math
import mimetypes
import time
from functools import lru_cache
from os import PathLike, stat_result
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_URL = "/static"
FOLDER = Path(__file__).parent / "static"
_DIGEST_LENGTH = 12
_FOR_GOOD = "public, max-age=31536000, immutable"
_ASK_AGAIN = "no-cache"

# Not every system's own table has these, or the same for these.
mimetypes.add_type("text/javascript", ".js")
mimetypes.add_type("text/css", ".css")
mimetypes.add_type("image/svg+xml", ".svg")


class Assets(StaticFiles):
    """ASGI app of a folder: `/DIGEST/PATH` for good, any other version and `/PATH` to be asked for again (ETag)."""

    def __init__(self, folder: Path = FOLDER, *, look_every_s: float = 1.0) -> None:
        super().__init__(directory=folder)
        self._folder = folder
        self._look_every_s = look_every_s
        self._looked_at = -math.inf
        self._digest = ""

    def url(self, path: str) -> str:
        """The address of a file as it is now, such as `/static/0123456789ab/js/live.js`."""
        return f"{STATIC_URL}/{self.digest()}/{path}"

    def digest(self) -> str:
        """Of all names and contents; a page asks several times, so that the folder is looked at once in a while."""
        now = time.monotonic()
        if now - self._looked_at >= self._look_every_s:
            found = sorted(path for path in self._folder.rglob("*") if path.is_file())
            self._digest = _digest(self._folder, tuple((path, *_stamp(path)) for path in found))
            self._looked_at = now
        return self._digest

    def get_path(self, scope: Scope) -> str:
        """The file's path below the folder, without the version."""
        path = super().get_path(scope)
        first, _, rest = path.partition("/")
        return rest if _is_digest(first) else path

    def file_response(
        self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200
    ) -> Response:
        """The file, or 304 where the browser has it."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        current = super().get_path(scope).startswith(f"{self.digest()}/")
        response.headers["Cache-Control"] = _FOR_GOOD if current else _ASK_AGAIN
        return response


def _is_digest(part: str) -> bool:
    return len(part) == _DIGEST_LENGTH and all(sign in "0123456789abcdef" for sign in part)


def _stamp(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=1)
def _digest(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    """Reads the files again where one has changed."""
    digest = hashlib.sha256()
    for path, _, size in stamps:
        digest.update(f"{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:_DIGEST_LENGTH]
