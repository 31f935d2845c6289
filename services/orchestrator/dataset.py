"""Writing a run's dataset: segments first, then the manifest entry that makes them count.

The commit is the exclusive creation of the next numbered manifest entry. Of two writers, the one that loses it reads
what the other committed and leaves those records out, so that no conversation is in the dataset twice.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path

from platolm.dataset import (
    MANIFEST_FOLDER,
    RUN_FILE,
    SEGMENT_SUFFIX,
    ManifestEntry,
    Record,
    compress_records,
    manifest_path,
    read_manifest,
    segment_path,
    sync_folder,
    write_atomically,
)
from platolm.errors import OutputError
from platolm.runs import RunSpec, Seed

SEEDS_FILE = "seeds.jsonl"
_RUNS_FOLDER = "runs"


class RunFolder:
    """Where a run lies below the data folder: `run.json`, `seeds.jsonl`, segments, manifest."""

    def __init__(self, data_dir: Path, run_id: str) -> None:
        self.run_id = run_id
        self.path = data_dir / _RUNS_FOLDER / run_id

    def create(self, spec: RunSpec, seeds: list[Seed]) -> None:
        """Write the immutable part, synced, before the run exists anywhere else.

        Raises:
            OutputError: no space, or the folder cannot be written.
        """
        lines = [seed.model_dump_json(exclude_none=True) for seed in seeds]
        write_atomically(self.path / SEEDS_FILE, "".join(line + "\n" for line in lines).encode())
        write_atomically(self.path / RUN_FILE, spec.model_dump_json(indent=1).encode())
        sync_folder(self.path.parent)

    def seed_lines(self) -> list[str]:
        """The run's seeds, each as the JSON that a worker reads; empty for free runs."""
        return (self.path / SEEDS_FILE).read_text(encoding="utf-8").split("\n")[:-1]


class DatasetWriter:
    """Appends to one run's dataset. `committed` holds every index that the manifest names."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._last_entry = 0
        self.committed: set[int] = set()
        self.refresh()

    def refresh(self) -> None:
        """Read the manifest entries that this writer has not seen."""
        for entry in read_manifest(self._folder, after=self._last_entry):
            self._last_entry = entry.number
            self.committed.update(entry.indices)

    def commit(self, records: Mapping[int, Record]) -> int:
        """Put records into the dataset, those that are not in it yet; gives how many were added.

        Raises:
            OutputError: the disk is full or the folder cannot be written; nothing was committed.
        """
        while fresh := {i: record for i, record in sorted(records.items()) if i not in self.committed}:
            if self._try_commit(fresh):
                return len(fresh)
            self.refresh()
        return 0

    def _try_commit(self, records: Mapping[int, Record]) -> bool:
        content = compress_records(records.values())
        name = f"{uuid.uuid4().hex}{SEGMENT_SUFFIX}"
        segment = segment_path(self._folder, name)
        write_atomically(segment, content)
        entry = ManifestEntry(
            number=self._last_entry + 1,
            segment=name,
            indices=list(records),
            size_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        if not _create_exclusively(manifest_path(self._folder, entry.number), entry.model_dump_json().encode()):
            segment.unlink()
            return False
        self._last_entry = entry.number
        self.committed.update(records)
        return True


def _create_exclusively(path: Path, content: bytes) -> bool:
    """Create a file whole and durable, or not at all: False when it is there already.

    Raises:
        OutputError: no space, or the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{MANIFEST_FOLDER}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.link(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        sync_folder(path.parent)
    except FileExistsError:
        return False
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error
    return True
