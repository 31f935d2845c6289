"""A run's dataset as a folder: records in segments, and a manifest that says which segments count.

    run.json                     the run's spec
    segments/<name>              records: JSON lines in zstd (.jsonl.zst), or Parquet (.parquet)
    manifest/00000001.json       one committed segment each, numbered without gaps; without an entry a segment does
                                 not count. `summary` counts what is in it and measures its user; older entries have
                                 none, or no measures
    marks/00000012.json          what a person thinks of conversation 12 (`platolm.marks`), where somebody said so

The folder lies on a disk or at any fsspec URL (`platolm.storage.Place`). `sharegpt.jsonl`, where it is, is made from
the segments: the same records, in the order of their index.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platolm.errors import OutputError
from platolm.segment_summary import SegmentSummary
from platolm.segments import SEGMENT_SUFFIX as SEGMENT_SUFFIX
from platolm.segments import Record as Record
from platolm.segments import compress_records as compress_records
from platolm.segments import decode_segment
from platolm.segments import read_segment as read_segment
from platolm.storage import LocalPlace, Place

RUN_FILE = "run.json"
SEGMENTS_FOLDER = "segments"
MANIFEST_FOLDER = "manifest"
SHAREGPT_FILE = "sharegpt.jsonl"

_MOST_AT_ONCE = 64
"""Manifest entries that are asked for together."""


class TurnRecord(BaseModel):
    """How one utterance came about. Its text is at the same position of `conversations`."""

    role: str
    num_tokens: int = Field(description="tokens of its text in the speaker's own tokenizer, eos not counted")
    num_prompt_tokens: int = 0
    num_cached_tokens: int | None = Field(None, description="prompt tokens in the engine's prefix cache, where it says")
    finish_reason: str = Field(description="stop (ended by itself), length (cut), or seed (given, not generated)")
    sampling_seed: int | None = None
    duration_s: float = 0.0
    token_ids: list[int] | None = Field(
        None, description="as generated, without eos; None for a given turn, and where not all of it was kept"
    )
    end: str | None = Field(None, description="marker, blank or likely where it was the simulator's goodbye")
    goodbye_probability: float | None = Field(
        None, description="how likely it was to hold a goodbye, where the run asked for it and the engine tells"
    )
    faults: list[str] | None = Field(None, description="what guardrails found in all tries at it")
    api: str | None = Field(None, description="the chat API that said it, by the operator's name; None: an engine")


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
    goodbye_at: int | None = Field(None, description="position of the turn with which the simulator said goodbye")
    goodbye_end: str | None = Field(None, description="how it did: marker, blank or likely")
    simulator: SideRecord
    respondent: SideRecord
    seed: int = Field(description="the run's seed")
    seed_mode: str
    seed_line: int | None = None
    seed_ended: bool | None = Field(
        None, description="whether the seed's conversation ended where its turns end; null where it did not say"
    )
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
    summary: SegmentSummary | None = Field(None, description="what is in it; null in entries of before there were any")


def manifest_name(number: int) -> str:
    """An entry's name below the dataset's folder."""
    return f"{MANIFEST_FOLDER}/{number:08d}.json"


def segment_name(name: str) -> str:
    """A segment's name below the dataset's folder."""
    return f"{SEGMENTS_FOLDER}/{name}"


def manifest_path(folder: Path, number: int) -> Path:
    return folder / manifest_name(number)


def segment_path(folder: Path, name: str) -> Path:
    return folder / segment_name(name)


def iter_manifest(where: Place | Path, *, after: int = 0) -> Iterator[ManifestEntry]:
    """The committed segments in order, those numbered above `after`, up to the first number that is not there.

    Raises:
        OutputError: an entry cannot be read.
    """
    place = _place(where)
    number, count = after + 1, 1
    while True:
        names = [manifest_name(number + i) for i in range(count)]
        for name, content in zip(names, place.read_many(names), strict=True):
            if content is None:
                return
            yield _entry(f"{place}/{name}", content)
        number, count = number + count, min(2 * count, _MOST_AT_ONCE)


def read_manifest(where: Place | Path, *, after: int = 0) -> list[ManifestEntry]:
    """The same as a list.

    Raises:
        OutputError: an entry cannot be read.
    """
    return list(iter_manifest(where, after=after))


def read_records(where: Place | Path) -> Iterator[Record]:
    """Every committed record, in the order of commitment.

    Raises:
        OutputError: an entry or its segment cannot be read.
    """
    place = _place(where)
    for entry in iter_manifest(place):
        yield from segment_records(place, entry)


def segment_records(place: Place, entry: ManifestEntry) -> Iterator[Record]:
    """The records of a committed segment.

    Raises:
        OutputError: it cannot be read, or is missing.
    """
    with open_committed(place, entry) as file:
        yield from decode_segment(file, entry.segment)


def open_committed(place: Place, entry: ManifestEntry) -> BinaryIO:
    """The bytes of a segment that the manifest names.

    Raises:
        OutputError: it is missing, or cannot be read.
    """
    file = place.open(segment_name(entry.segment))
    if file is None:
        raise OutputError(f"{place}/{segment_name(entry.segment)} is missing, but the manifest names it")
    return file


def _place(where: Place | Path) -> Place:
    return LocalPlace(where) if isinstance(where, Path) else where


def _entry(name: str, content: bytes) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate_json(content)
    except ValidationError as error:
        raise OutputError(f"{name} is damaged: {error.errors(include_url=False)[0]['msg']}") from error
