"""Folders that fsspec reaches: object stores, whose puts are whole by themselves and can be made conditional."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO, cast

from fsspec.asyn import AsyncFileSystem  # type: ignore[import-untyped]
from fsspec.core import url_to_fs  # type: ignore[import-untyped]
from fsspec.spec import AbstractFileSystem  # type: ignore[import-untyped]

from platolm.errors import InputError, OutputError
from platolm.storage import Place


def open_remote(url: str) -> Place:
    """The folder at a URL.

    Raises:
        InputError: no file system is known for its scheme, or a package for it is missing.
    """
    try:
        file_system, path = url_to_fs(url)
    except (ImportError, ValueError) as error:
        raise InputError(f"{url} cannot be used: {_line(error)}") from error
    return RemotePlace(url, file_system, path)


class RemotePlace(Place):
    """A folder of an fsspec file system. Credentials and endpoints come from where that file system looks for them."""

    def __init__(self, url: str, file_system: AbstractFileSystem, path: str) -> None:
        super().__init__(url.rstrip("/"))
        self._fs = file_system
        self._path = path.rstrip("/")

    def make(self, *folders: str) -> None:
        if not _creates_exclusively(self._fs):
            raise InputError(f"{self} cannot take a name exclusively, which a dataset needs: choose another place")

    def open(self, name: str) -> BinaryIO | None:
        with self._errors(name):
            try:
                return cast("BinaryIO", self._fs.open(self._full(name), "rb"))
            except FileNotFoundError:
                return None

    def read_many(self, names: Sequence[str]) -> list[bytes | None]:
        with self._errors(names[0]):
            found = self._fs.cat_ranges([self._full(name) for name in names], None, None, on_error="return")
            return [self._found(content) for content in found]

    def write(self, name: str, chunks: Iterable[bytes], *, before_visible: Callable[[], None] | None = None) -> None:
        with tempfile.NamedTemporaryFile() as file:
            file.writelines(chunks)
            file.flush()
            if before_visible is not None:
                before_visible()
            with self._errors(name):
                self._fs.put_file(file.name, self._full(name))

    def create(self, name: str, content: bytes) -> bool:
        try:
            with self._errors(name):
                self._fs.pipe_file(self._full(name), content, mode="create")
                return True
        except OutputError:
            # A lost answer, a repeated request, or a refusal in this store's own words: what is there now decides.
            if (found := self.read(name)) is None:
                raise
            return found == content

    def remove(self, name: str) -> None:
        with self._errors(name):
            try:
                self._fs.rm_file(self._full(name))
            except FileNotFoundError:
                return

    def sync(self, folder: str) -> None:
        """Nothing to do: what an object store has acknowledged is durable."""

    def names(self, folder: str) -> list[str]:
        with self._errors(folder):
            self._fs.invalidate_cache(self._full(folder))  # other processes write there too
            try:
                found = self._fs.ls(self._full(folder), detail=False)
            except FileNotFoundError:
                return []
            return [path.rpartition("/")[2] for path in found]

    def _full(self, name: str) -> str:
        return f"{self._path}/{name}"

    @staticmethod
    def _found(content: object) -> bytes | None:
        if isinstance(content, FileNotFoundError):
            return None
        if isinstance(content, BaseException):
            raise content
        return cast("bytes", content)

    @contextmanager
    def _errors(self, name: str) -> Iterator[None]:
        """Each file system raises its client's own errors: all of them mean that the place does not do its work."""
        try:
            yield
        except Exception as error:
            raise OutputError(f"{self}/{name} cannot be reached: {_line(error)}") from error


def _creates_exclusively(file_system: AbstractFileSystem) -> bool:
    """Whether its class has a conditional put of its own: fsspec's common one looks first and then writes."""
    if isinstance(file_system, AsyncFileSystem):
        own, common = type(file_system)._pipe_file, AsyncFileSystem._pipe_file
    else:
        own, common = type(file_system).pipe_file, AbstractFileSystem.pipe_file
    return own is not common and "mode" in inspect.signature(own).parameters


def _line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())
