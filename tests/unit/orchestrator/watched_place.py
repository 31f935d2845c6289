"""A place whose every step can be watched, broken off, or used by somebody else in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import BinaryIO

from platolm.storage import Place

Hook = Callable[[str], None]


def nothing(_step: str) -> None:
    return


class WatchedPlace(Place):
    """Passes everything on; `before` and `after` are called around each step, by its name."""

    def __init__(self, inner: Place, *, before: Hook = nothing, after: Hook = nothing) -> None:
        super().__init__(inner.url)
        self.inner = inner
        self.before = before
        self.after = after

    def make(self, *folders: str) -> None:
        self.inner.make(*folders)

    def open(self, name: str) -> BinaryIO | None:
        return self.inner.open(name)

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        self.before("read")
        found = self.inner.read_many(names)
        self.after("read")
        return found

    def write(self, name: str, chunks: Iterable[bytes], *, before_visible: Callable[[], None] | None = None) -> None:
        self.before("write")
        self.inner.write(name, chunks, before_visible=before_visible)
        self.after("write")

    def create(self, name: str, content: bytes) -> bool:
        self.before("create")
        created = self.inner.create(name, content)
        self.after("create")
        return created

    def remove(self, name: str) -> None:
        self.before("remove")
        self.inner.remove(name)
        self.after("remove")

    def names(self, folder: str) -> list[str]:
        return self.inner.names(folder)

    def sync(self, folder: str) -> None:
        self.before("sync")
        self.inner.sync(folder)
        self.after("sync")
