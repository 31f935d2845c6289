"""Datasets that lie in an object store, as folders on this disk for as long as a command reads them."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platolm.dataset import MANIFEST_FOLDER, SEGMENTS_FOLDER, iter_manifest, manifest_name, open_committed, segment_name
from platolm.errors import InputError
from platolm.marks import MARKS_FOLDER
from platolm.storage import Place, open_place

_BETWEEN = "://"


@contextmanager
def on_disk(sources: Sequence[str]) -> Iterator[list[Path]]:
    """Paths as they are; of each URL (`s3://bucket/run`) what is committed of the run there, in a folder of its name.

    The copies are gone afterwards: they need the disk that the segments fill, in the folder for temporary files.

    Raises:
        InputError: a URL is none, its scheme needs a package that is not installed, or no run has committed there.
        OutputError: the store does not answer, or holds a damaged run.
    """
    with tempfile.TemporaryDirectory(prefix="platolm-") as folder:
        yield [
            _fetched(source, Path(folder) / str(number)) if _BETWEEN in source else Path(source)
            for number, source in enumerate(sources)
        ]


def _fetched(url: str, parent: Path) -> Path:
    place = open_place(url.rstrip("/"))
    folder = parent / url.rstrip("/").rpartition("/")[2]
    for part in (MANIFEST_FOLDER, SEGMENTS_FOLDER, MARKS_FOLDER):
        (folder / part).mkdir(parents=True)
    is_empty = True
    for entry in iter_manifest(place):
        is_empty = False
        with open_committed(place, entry) as remote, (folder / segment_name(entry.segment)).open("wb") as local:
            shutil.copyfileobj(remote, local)
        _copy(place, manifest_name(entry.number), folder)
    if is_empty:
        raise InputError(f"{url} holds no run that has committed anything: name the folder of a run's dataset")
    for name in place.names(MARKS_FOLDER):
        _copy(place, f"{MARKS_FOLDER}/{name}", folder)
    return folder


def _copy(place: Place, name: str, folder: Path) -> None:
    content = place.read(name)
    if content is not None:
        (folder / name).write_bytes(content)
