"""Prepared rows on disk: one folder for each data, tokenizer and settings, whole or not there at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from platolm.dyadic import PROFILES
from platolm.errors import OutputError
from platolm.storage import sync_folder, write_atomically
from training.data.report import DataReport
from training.recipes.recipe import Data, Side

FORMAT_VERSION = 1
"""Raise it when other rows come of the same data and settings."""

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_CONTENTS_FILE = "rows.json"
_ROWS = "*.arrow"


class Contents(BaseModel):
    """`rows.json`: what the folder holds; `sizes` are bytes by file name."""

    sizes: dict[str, int]
    report: DataReport


def key_of(files: Iterable[Path], tokenizer_folder: Path, data: Data, side: Side) -> str:
    """Hex digits of everything that the rows hang on: contents of files, not their names; order counts."""
    parts = {
        "format": [FORMAT_VERSION, [[profile.header, profile.target_role] for profile in PROFILES.values()]],
        "data": [[file.suffix, _digest(file)] for file in files],
        "tokenizer": [_digest(path) for name in TOKENIZER_FILES if (path := tokenizer_folder / name).is_file()],
        "settings": data.model_dump(mode="json", exclude={"paths"}),
        "side": side,
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def whole_entry(folder: Path) -> Contents | None:
    """What a finished folder holds; None where it is missing or has lost something."""
    try:
        contents = Contents.model_validate_json((folder / _CONTENTS_FILE).read_bytes())
        sizes = {path.name: path.stat().st_size for path in folder.glob(_ROWS)}
    except (OSError, ValidationError):
        return None
    return contents if sizes == contents.sizes else None


def made_once(folder: Path, make: Callable[[Path], DataReport]) -> Contents:
    """The folder's contents, made by one process while the others wait.

    Args:
        make: fills an empty folder with files of rows; what it leaves when it fails is removed.

    Raises:
        OutputError: the folder cannot be written.
    """
    if (contents := whole_entry(folder)) is not None:
        return contents
    with _written_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            return whole_entry(folder) or _made(folder, make)


def _made(folder: Path, make: Callable[[Path], DataReport]) -> Contents:
    beginnings = f".{folder.name}."
    for left in [*folder.parent.glob(f"{beginnings}*"), folder]:
        shutil.rmtree(left, ignore_errors=True)
    fresh = Path(tempfile.mkdtemp(prefix=beginnings, dir=folder.parent))
    try:
        report = make(fresh)
        contents = Contents(sizes={path.name: path.stat().st_size for path in fresh.glob(_ROWS)}, report=report)
        write_atomically(fresh / _CONTENTS_FILE, contents.model_dump_json(indent=2).encode() + b"\n")
        fresh.chmod(0o755)
        fresh.rename(folder)
        sync_folder(folder.parent)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        raise
    return contents


@contextmanager
def _written_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{folder} cannot be written: {error.strerror or error}") from error


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
