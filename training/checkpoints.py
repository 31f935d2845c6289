"""Checkpoints that count only once they are whole: a kill or a full disk while saving leaves the one before."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from torch.distributed.checkpoint.api import CheckpointException

from platolm.errors import OutputError
from training.devices import lost_peer

_COMPLETE = "complete.json"
_NAME = re.compile(r"checkpoint-(\d+)")


def newest_checkpoint(folder: Path) -> Path | None:
    """The whole checkpoint of the latest step below `folder`, or None."""
    whole = [path for path in _checkpoints(folder) if is_complete(path)]
    return max(whole, key=step_of, default=None)


def step_of(checkpoint: Path) -> int:
    """The step after which it was written."""
    match = _NAME.fullmatch(checkpoint.name)
    assert match is not None, checkpoint
    return int(match.group(1))


def is_complete(checkpoint: Path) -> bool:
    """Whether every file that was there when it was completed still is, in its size."""
    try:
        sizes = json.loads((checkpoint / _COMPLETE).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return False
    return all(_size(checkpoint / name) == size for name, size in sizes.items())


def complete(checkpoint: Path) -> None:
    """Push a written checkpoint to the disk, then say that it is whole."""
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file())
    for path in files:
        _sync(path)
    sizes = {path.relative_to(checkpoint).as_posix(): path.stat().st_size for path in files}
    fresh = checkpoint / f"{_COMPLETE}.new"
    fresh.write_text(json.dumps(sizes, indent=1), encoding="utf-8")
    _sync(fresh)
    fresh.replace(checkpoint / _COMPLETE)
    for folder in (checkpoint, checkpoint.parent):
        _sync(folder)


def remove_torn(folder: Path) -> None:
    """Remove what a kill in mid-save has left."""
    for path in _checkpoints(folder):
        if not is_complete(path):
            shutil.rmtree(path, ignore_errors=True)


@contextmanager
def saving(checkpoint: Path) -> Iterator[None]:
    """Turn a failure to write into one line, and remove what was written.

    Raises:
        OutputError: the disk is full, or the folder cannot be written; names the checkpoint that is left.
    """
    try:
        yield
    # For a full disk torch.save says RuntimeError; a sharded save has an error of its own, which is no Exception.
    except (OSError, SafetensorError, RuntimeError, CheckpointException) as error:
        if lost_peer(error) is not None:
            raise
        shutil.rmtree(checkpoint, ignore_errors=True)
        raise OutputError(
            f"{checkpoint} could not be written ({_first_line(error)}); {what_is_kept(checkpoint.parent)}; "
            "free some space and give the same command again"
        ) from error


def what_is_kept(folder: Path) -> str:
    """A clause for errors: from where a restart would go on."""
    newest = newest_checkpoint(folder)
    return f"{newest} is intact" if newest else "there is no checkpoint yet"


def _checkpoints(folder: Path) -> list[Path]:
    return [path for path in folder.glob("checkpoint-*") if _NAME.fullmatch(path.name)] if folder.is_dir() else []


def _size(path: Path) -> int | None:
    return path.stat().st_size if path.is_file() else None


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
