"""A run's dataset as a folder: records in segments, and a manifest that says which segments count.

    run.json                     the run's id and spec
    segments/<name>.jsonl.zst    records, one JSON object a line
    manifest/00000001.json       one committed segment each, numbered without gaps; without an entry a segment does
                                 not count

`sharegpt.jsonl`, where it is, is made from the segments: the same records, in the order of their index.
"""

from __future__ import annotations

import io
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import zstandard
from pydantic import BaseModel, ConfigDict, Field

from platolm.errors import OutputError

RUN_FILE = "run.json"
SEGMENTS_FOLDER = "segments"
SEGMENT_SUFFIX = ".jsonl.zst"
MANIFEST_FOLDER = "manifest"
SHAREGPT_FILE = "sharegpt.jsonl"

Record = dict[str, Any]
"""A finished conversation; `TurnRecord` documents `turns`, `ConversationRecord` the rest."""


class TurnRecord(BaseModel):
    """How one utterance came about. Its text is at the same position of `conversations`."""

    role: str
    num_tokens: int = Field(description="tokens of its text in the speaker's own tokenizer, eos not counted")
    num_prompt_tokens: int = 0
    finish_reason: str = Field(description="stop (ended by itself), length (cut), or seed (given, not generated)")
    sampling_seed: int | None = None
    duration_s: float = 0.0
    token_ids: list[int] | None = Field(None, description="as generated, without eos; None for a given turn")


class SideRecord(BaseModel):
    """Which model spoke, and how it was sampled."""

    profile: str
    model: str
    sampling: dict[str, Any]
    system_prompt: str | None = None


class ConversationRecord(BaseModel):
    """One finished conversation, as a segment holds it."""

    id: str
    run_id: str
    index: int
    conversations: list[dict[str, str]] = Field(description="ShareGPT turns: from human|gpt, value")
    num_rounds: int
    termination_reason: str
    simulator: SideRecord
    respondent: SideRecord
    seed: int = Field(description="the run's seed")
    seed_mode: str
    seed_line: int | None = None
    turns: list[TurnRecord]
    started_at: float
    finished_at: float


class ManifestEntry(BaseModel):
    """One committed segment."""

    model_config = ConfigDict(extra="forbid")

    number: int
    segment: str = Field(description="file name below segments/")
    indices: list[int]
    size_bytes: int
    sha256: str


def manifest_path(folder: Path, number: int) -> Path:
    return folder / MANIFEST_FOLDER / f"{number:08d}.json"


def segment_path(folder: Path, name: str) -> Path:
    return folder / SEGMENTS_FOLDER / name


def read_manifest(folder: Path, *, after: int = 0) -> list[ManifestEntry]:
    """The committed segments in order, those numbered above `after`.

    Raises:
        OutputError: an entry cannot be read.
    """
    entries = []
    number = after + 1
    while (path := manifest_path(folder, number)).exists():
        try:
            entries.append(ManifestEntry.model_validate_json(path.read_bytes()))
        except ValueError as error:
            raise OutputError(f"{path} is damaged: {error}") from error
        number += 1
    return entries


def compress_records(records: Iterable[Record]) -> bytes:
    """A segment's bytes."""
    lines = (json.dumps(record, ensure_ascii=False, separators=(",", ":")) + "\n" for record in records)
    return zstandard.ZstdCompressor(level=3).compress("".join(lines).encode())


def read_segment(path: Path) -> Iterator[Record]:
    """The records of one segment."""
    with path.open("rb") as file, zstandard.ZstdDecompressor().stream_reader(file) as reader:
        for line in io.TextIOWrapper(reader, encoding="utf-8"):
            yield json.loads(line)


def read_records(folder: Path) -> Iterator[Record]:
    """Every committed record, in the order of commitment."""
    for entry in read_manifest(folder):
        yield from read_segment(segment_path(folder, entry.segment))


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
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}") from error


def sync_folder(folder: Path) -> None:
    """Make renames and creations in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
