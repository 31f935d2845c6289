"""A folder that one process at a time works in; the kernel lets go when the process ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from platolm.errors import OccupiedError, OutputError


@contextmanager
def held(folder: Path, *, busy: str, shared: bool = False) -> Iterator[None]:
    """Create a folder where it is missing, and keep others out while inside.

    Args:
        busy: what another process does there, for the error: "another platolm run is writing to".
        shared: another process of the same work holds it; nobody is kept out.

    Raises:
        OccupiedError: another process holds it, or a file is in its place.
        OutputError: it cannot be created.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except (FileExistsError, NotADirectoryError):
        raise OccupiedError(f"{folder} is, or lies below, a file: give another --out") from None
    except OSError as error:
        raise OutputError(f"{folder} cannot be created: {error.strerror or error}") from error
    try:
        try:
            if not shared:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise OccupiedError(f"{busy} {folder}: wait for it, or stop it first") from None
        yield
    finally:
        os.close(descriptor)
