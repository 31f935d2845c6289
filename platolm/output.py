"""The folder a caller of the API keeps a run in: what was asked, the segments fetched so far, the finished dataset.

    run.json            what was asked, under which key, the run's id, and at the end its summary
    segments/ manifest/ the run's dataset, fetched segment by segment (see `platolm.dataset`)
    sharegpt.jsonl      every conversation, in the order of its index; there once the run is complete

Each file appears whole or not at all, a segment before its manifest entry and `run.json` before the run is submitted:
a caller that is killed at any point goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import time
import uuid
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from platolm.dataset import (
    MANIFEST_FOLDER,
    RUN_FILE,
    SEGMENTS_FOLDER,
    SHAREGPT_FILE,
    ManifestEntry,
    Record,
    manifest_path,
    read_manifest,
    read_segment,
    segment_path,
)
from platolm.errors import OccupiedError, OutputError
from platolm.held import held
from platolm.runs import DeadConversation, RunProgress
from platolm.spec import RunRequest, RunSpec, Seed
from platolm.storage import open_atomically, write_atomically
from platolm.summary import RunSummary, Tally

_SEGMENT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class RunFile(BaseModel):
    """`run.json`. `run_id` is None until the API has answered, `summary` until the dataset is complete."""

    model_config = ConfigDict(extra="forbid")

    api: str
    idempotency_key: str
    spec: RunSpec
    spec_digest: str
    seeds_digest: str
    created_at: float
    run_id: str | None = None
    summary: RunSummary | None = None


def digest_of_seeds(seeds: Sequence[Seed]) -> str:
    """Hex SHA-256 over the seeds in their order; their line numbers count, for they are in the records."""
    digest = hashlib.sha256()
    for seed in seeds:
        digest.update(seed.model_dump_json().encode() + b"\n")
    return digest.hexdigest()


class RunFolder:
    """One run's folder, held by one process at a time. Make it with `open_run_folder`."""

    def __init__(self, path: Path, run: RunFile, entries: list[ManifestEntry]) -> None:
        self.path = path
        self.run = run
        self._entries = entries

    @property
    def num_segments(self) -> int:
        """Number of the last segment that is here."""
        return len(self._entries)

    @property
    def num_conversations(self) -> int:
        """Conversations in the segments that are here."""
        return sum(len(entry.indices) for entry in self._entries)

    @property
    def is_complete(self) -> bool:
        """Whether the whole dataset is here."""
        return self.run.summary is not None and self.sharegpt_path.exists()

    @property
    def sharegpt_path(self) -> Path:
        return self.path / SHAREGPT_FILE

    def save(self, **changes: object) -> None:
        """Write `run.json`, with these fields changed."""
        self.run = self.run.model_copy(update=changes)
        write_atomically(self.path / RUN_FILE, self.run.model_dump_json(indent=2).encode() + b"\n")

    def forget(self) -> None:
        """Take `run.json` away again: the API refused the run, so that there is none."""
        assert self.run.run_id is None
        (self.path / RUN_FILE).unlink(missing_ok=True)
        if not any(self.path.iterdir()):
            self.path.rmdir()

    def add_segment(self, entry: ManifestEntry, content: bytes) -> None:
        """Put a fetched segment into the folder, then its manifest entry.

        Raises:
            OutputError: the entry is not the next one, or cannot be written.
        """
        if entry.number != self.num_segments + 1:
            raise OutputError(f"the API gave segment {entry.number} where {self.num_segments + 1} comes next")
        if not _SEGMENT_NAME.fullmatch(entry.segment):
            raise OutputError(f"the API gave a segment the name {entry.segment!r}, which is no file name")
        write_atomically(segment_path(self.path, entry.segment), content)
        write_atomically(manifest_path(self.path, entry.number), entry.model_dump_json().encode())
        self._entries.append(entry)

    def complete(self, progress: RunProgress, dead: list[DeadConversation]) -> RunSummary:
        """Write `sharegpt.jsonl` from the segments, and the summary."""
        segments = (segment_path(self.path, entry.segment) for entry in self._entries)
        tally = Tally()
        write_sharegpt(self.sharegpt_path, tally.over(record for path in segments for record in read_segment(path)))
        summary = tally.summary(progress, dead)
        self.save(summary=summary)
        return summary


def segment_is_whole(entry: ManifestEntry, content: bytes) -> bool:
    """Whether bytes are the segment that the manifest names."""
    return len(content) == entry.size_bytes and hashlib.sha256(content).hexdigest() == entry.sha256


@contextmanager
def open_run_folder(path: Path, request: RunRequest, *, api: str) -> Iterator[RunFolder]:
    """Hold the folder for this run: a new one, or the one in which this very run was begun.

    Raises:
        OccupiedError: it holds another run, or files that are no run, or another process holds it.
        OutputError: it cannot be created or read.
    """
    spec_digest, seeds_digest = request.spec.digest(), digest_of_seeds(request.seeds)
    with held(path, busy="another platolm run is writing to"):
        existing = _read_run_file(path)
        if existing is not None:
            _require_same_run(path, existing, spec_digest, seeds_digest)
        _remove_unfinished_files(path)
        run = existing or RunFile(
            api=api,
            idempotency_key=uuid.uuid4().hex,
            spec=request.spec,
            spec_digest=spec_digest,
            seeds_digest=seeds_digest,
            created_at=time.time(),
        )
        folder = RunFolder(path, run, _whole_entries(path))
        if existing is None:
            folder.save()
        yield folder


def write_sharegpt(path: Path, records: Iterator[Record]) -> None:
    """Write records as JSON lines in the order of their index, without token ids.

    They go to a spool file on the same disk first, so that memory holds two numbers a conversation.

    Raises:
        OutputError: the disk is full or the folder cannot be written.
    """
    offsets, sizes, order = array("q"), array("q"), array("q")
    try:
        with tempfile.TemporaryFile(dir=path.parent) as spool:
            for record in records:
                line = _sharegpt_line(record)
                offsets.append(spool.tell())
                sizes.append(len(line))
                order.append(record["index"])
                spool.write(line)
            with open_atomically(path) as file:
                for position in sorted(range(len(order)), key=order.__getitem__):
                    spool.seek(offsets[position])
                    file.write(spool.read(sizes[position]))
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def _sharegpt_line(record: Record) -> bytes:
    turns = [{key: value for key, value in turn.items() if key != "token_ids"} for turn in record["turns"]]
    return json.dumps({**record, "turns": turns}, ensure_ascii=False).encode() + b"\n"


def _read_run_file(path: Path) -> RunFile | None:
    try:
        return RunFile.model_validate_json((path / RUN_FILE).read_bytes())
    except FileNotFoundError:
        if path.is_dir() and any(not name.startswith(f".{RUN_FILE}.") for name in os.listdir(path)):
            raise OccupiedError(f"{path} is not empty and holds no run: give another --out") from None
        return None
    except ValidationError:
        raise OccupiedError(f"{path} holds a {RUN_FILE} that is no run of this command: give another --out") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror or error}") from error


def _require_same_run(path: Path, existing: RunFile, spec_digest: str, seeds_digest: str) -> None:
    differing = []
    if existing.spec_digest != spec_digest:
        differing.append("spec")
    if existing.seeds_digest != seeds_digest:
        differing.append("seeds")
    if differing:
        raise OccupiedError(
            f"{path} holds another run (other {' and '.join(differing)}): give another --out, "
            "or the options that it was begun with (platolm run --show prints them)"
        )


def _remove_unfinished_files(path: Path) -> None:
    """What a killed process left beside the files that it was writing; nobody else writes while the folder is held."""
    for pattern in (f".{RUN_FILE}.*", f".{SHAREGPT_FILE}.*", f"{SEGMENTS_FOLDER}/.*", f"{MANIFEST_FOLDER}/.*"):
        for leftover in path.glob(pattern):
            leftover.unlink(missing_ok=True)


def _whole_entries(path: Path) -> list[ManifestEntry]:
    """The entries up to the first whose segment is missing or damaged; it and those after it are fetched again."""
    entries: list[ManifestEntry] = []
    for entry in read_manifest(path):
        try:
            content = segment_path(path, entry.segment).read_bytes()
        except FileNotFoundError:
            break
        if not segment_is_whole(entry, content):
            break
        entries.append(entry)
    return entries
