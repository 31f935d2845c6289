"""Folders of files that appear whole, and of names that are taken exactly once: on a disk, or at any fsspec URL."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from platolm.errors import InputError, OutputError

TEMPORARY_SUFFIX = ".tmp"
"""Ends the hidden name of a file that is being written; a killed process leaves it behind."""

_FILE_SCHEME = "file://"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS)


class Place(ABC):
    """A folder. Names are relative to it, with slashes; `OutputError` is raised where it does not answer."""

    def __init__(self, url: str) -> None:
        self.url = url

    def __str__(self) -> str:
        return self.url

    @abstractmethod
    def make(self, *folders: str) -> None:
        """Make the folder and folders below it. Nothing else does, so that one that goes away is missed.

        Raises:
            InputError: this place cannot hold a dataset.
        """

    @abstractmethod
    def open(self, name: str) -> BinaryIO | None:
        """A file's bytes; None where it is not there."""

    @abstractmethod
    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        """Several files whole; None for each that is not there."""

    @abstractmethod
    def write(self, name: str, chunks: Iterable[bytes], *, before_visible: Callable[[], None] | None = None) -> None:
        """Put a file in place whole and durable, or not at all; `before_visible` is called just before it appears."""

    @abstractmethod
    def create(self, name: str, content: bytes) -> bool:
        """Take a name exactly once, whole and durable; False where another content has it already.

        After an error it is not known whether the name was taken.

        Raises:
            InputError: this place cannot take a name exclusively.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file; one that is not there is gone already."""

    @abstractmethod
    def sync(self, folder: str) -> None:
        """Make durable which names a folder has, those included that other processes took."""

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The files of a folder; none where it is not there."""

    def read(self, name: str) -> bytes | None:
        """A whole file; None where it is not there."""
        return self.read_many([name])[0]


def open_place(where: str | Path) -> Place:
    """The folder at a path or fsspec URL; nothing is looked at yet.

    Raises:
        InputError: the URL has a form that is not taken, or its scheme needs a package that is not installed.
    """
    if isinstance(where, Path):
        return LocalPlace(where)
    check_url(where)
    if where.startswith(_FILE_SCHEME):
        return LocalPlace(Path(where.removeprefix(_FILE_SCHEME)))
    from platolm.remote import open_remote  # fsspec: not needed by those who stay on their disk

    return open_remote(where)


def file_url(path: Path) -> str:
    """The URL of a folder on this machine; nothing is escaped in it, as fsspec unescapes nothing."""
    return f"{_FILE_SCHEME}{path.absolute()}"


def check_url(url: str) -> None:
    """See that a URL can only mean the folder that it names.

    Raises:
        InputError: it is a chain of file systems, climbs, carries a query, or is no URL.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not scheme:
        raise InputError(f"{url} is no URL: say for example s3://bucket/folder")
    parts = rest.rstrip("/").removeprefix("/").split("/")
    if scheme == "file" and not rest.startswith("/"):
        raise InputError(f"{url} names no folder from the root: write file:///folder")
    if "::" in url or any(part in ("", ".", "..") for part in parts) or any(sign in rest for sign in "?#*[]\\"):
        raise InputError(f"{url} is not taken: name one folder, without ::, ?, #, *, brackets or .. in it")


class LocalPlace(Place):
    """A folder on a disk: written beside the name, fsync, rename or link, fsync of the folder."""

    def __init__(self, path: Path) -> None:
        super().__init__(str(path))
        self.path = path

    def make(self, *folders: str) -> None:
        with _os_errors(self.path, "cannot be written"):
            for folder in (self.path, *(self.path / name for name in folders)):
                _make_folder(folder)

    def open(self, name: str) -> BinaryIO | None:
        path = self.path / name
        with _os_errors(path, "cannot be read"):
            try:
                return path.open("rb")
            except FileNotFoundError:
                return None

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        return [self._read(self.path / name) for name in names]

    def write(self, name: str, chunks: Iterable[bytes], *, before_visible: Callable[[], None] | None = None) -> None:
        with self._target(name) as path, _written_beside(path) as temporary:
            with temporary.open("wb") as file:
                file.writelines(chunks)
                file.flush()
                os.fsync(file.fileno())
            if before_visible is not None:
                before_visible()
            os.replace(temporary, path)
            sync_folder(path.parent)

    def create(self, name: str, content: bytes) -> bool:
        with self._target(name) as path, _written_beside(path) as temporary:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            try:
                os.link(temporary, path)
            except FileExistsError:
                return False
            except OSError as error:
                if error.errno not in _NO_LINKS:
                    raise
                raise InputError(f"{self} is on a file system without hard links: choose another place") from error
            sync_folder(path.parent)
        return True

    def remove(self, name: str) -> None:
        with _os_errors(self.path / name, "cannot be removed"):
            (self.path / name).unlink(missing_ok=True)

    def sync(self, folder: str) -> None:
        with _os_errors(self.path / folder, "cannot be synced"):
            sync_folder(self.path / folder)

    def names(self, folder: str) -> list[str]:
        with _os_errors(self.path / folder, "cannot be read"):
            try:
                return os.listdir(self.path / folder)
            except FileNotFoundError:
                return []

    @contextmanager
    def _target(self, name: str) -> Iterator[Path]:
        with _os_errors(self.path / name, "cannot be written"):
            yield self.path / name

    def _read(self, path: Path) -> bytes | None:
        with _os_errors(path, "cannot be read"):
            try:
                return path.read_bytes()
            except FileNotFoundError:
                return None


def write_atomically(path: Path, content: bytes) -> None:
    """Put a file in place whole or not at all.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with open_atomically(path) as file:
        file.write(content)


@contextmanager
def open_atomically(path: Path) -> Iterator[BinaryIO]:
    """A file to write that appears at `path` whole or not at all: written beside it, fsync, rename, fsync the folder.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    with _os_errors(path, "cannot be written"):
        path.parent.mkdir(parents=True, exist_ok=True)
        with _written_beside(path) as temporary:
            with temporary.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames and creations in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path, *, older_than_s: float) -> int:
    """Remove what killed processes left half-written anywhere below a folder; gives how many files.

    Only names of `TEMPORARY_SUFFIX` are touched, and none that a living process may still be writing.
    """
    oldest = time.time() - older_than_s
    removed = 0
    for path in folder.rglob(f".*{TEMPORARY_SUFFIX}"):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime < oldest:
                path.unlink()
                removed += 1
    return removed


@contextmanager
def _written_beside(path: Path) -> Iterator[Path]:
    """A fresh file beside `path`, gone afterwards unless it was renamed; its folder must be there."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=TEMPORARY_SUFFIX)
    os.fchmod(descriptor, 0o644)
    os.close(descriptor)
    try:
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


@contextmanager
def _os_errors(path: Path, what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path} {what}: {error.strerror or error}") from error
