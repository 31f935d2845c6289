"""What a stage is made from, as a few letters: equal letters, equal inputs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from platolm.errors import InputError

_READ_WHOLE_BYTES = 256 << 20
_DIGITS = 16


def fingerprint_of(*parts: object) -> str:
    """Of JSON-able values, the order of keys aside."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGITS]


def files_fingerprint(files: Iterable[Path]) -> str:
    """Of the content of data files, in their order; their names do not count.

    Raises:
        InputError: one cannot be read.
    """
    return fingerprint_of([_content(file) for file in files])


def model_fingerprint(source: str) -> str:
    """Of a model folder's files, by name and content; a hub name stands for itself."""
    folder = Path(source)
    if not folder.is_dir():
        return source
    return fingerprint_of({file.name: _content(file) for file in sorted(folder.iterdir()) if file.is_file()})


def _content(file: Path) -> str:
    """The digest of a file's bytes; of its size and time of change where reading it all would take long."""
    try:
        state = file.stat()
        if state.st_size > _READ_WHOLE_BYTES:
            return f"{state.st_size}@{state.st_mtime_ns}"
        with file.open("rb") as content:
            return hashlib.file_digest(content, "sha256").hexdigest()
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
