"""A run's seeds as the file they were written to: any of a million lines by its position, none of them kept."""

from __future__ import annotations

import mmap
from array import array
from pathlib import Path

from platolm.errors import OutputError
from platolm.storage import LocalPlace, Place, open_atomically

SEEDS_FILE = "seeds.jsonl"
_COPY_BYTES = 1024 * 1024


class SeedFile:
    """Lines by position, from a memory map and eight bytes a line. Safe to read from several threads."""

    def __init__(self, path: Path) -> None:
        """Find the lines.

        Raises:
            OutputError: the file cannot be read.
        """
        try:
            with path.open("rb") as file:
                self.size_bytes = path.stat().st_size
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if self.size_bytes else None
        except OSError as error:
            raise OutputError(f"{path} cannot be read: {error.strerror or error}") from error
        self._ends = array("Q", self._line_ends())

    def __len__(self) -> int:
        return len(self._ends)

    def line(self, position: int) -> str:
        """One seed as the JSON that a worker reads; `position` counts from 0.

        Raises:
            IndexError: there are not so many.
        """
        if not 0 <= position < len(self._ends):
            raise IndexError(position)
        assert self._map is not None
        start = self._ends[position - 1] + 1 if position else 0
        return self._map[start : self._ends[position]].decode()

    @property
    def mean_bytes(self) -> float:
        """What a seed takes on average; 0 where there are none."""
        return self.size_bytes / len(self) if len(self) else 0.0

    def _line_ends(self) -> array[int]:
        ends = array("Q")
        position = -1
        while self._map is not None and (position := self._map.find(b"\n", position + 1)) >= 0:
            ends.append(position)
        return ends


def open_seed_file(place: Place, cache: Path) -> SeedFile:
    """The seeds at a place; those of a place that is not a disk are copied to `cache` first, once.

    Raises:
        OutputError: they cannot be read, or the copy cannot be written.
    """
    if isinstance(place, LocalPlace):
        return SeedFile(place.path / SEEDS_FILE)
    if not cache.exists():
        _copy(place, cache)
    return SeedFile(cache)


def _copy(place: Place, cache: Path) -> None:
    source = place.open(SEEDS_FILE)
    if source is None:
        raise OutputError(f"{place}/{SEEDS_FILE} is missing")
    with source, open_atomically(cache) as target:
        while chunk := source.read(_COPY_BYTES):
            target.write(chunk)
