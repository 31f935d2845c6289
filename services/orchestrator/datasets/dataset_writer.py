"""Writing a run's dataset: segments first, then the manifest entry that makes them count.

The commit is the exclusive creation of the next numbered manifest entry. Of two writers, the one that loses it reads
what the other committed and leaves those records out, so that no conversation is in the dataset twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass

import orjson

from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, ManifestEntry, iter_manifest, manifest_name, segment_name
from platolm.errors import OutputError
from platolm.realism import Realism
from platolm.segment_summary import SegmentSummary
from platolm.segments import encode_segment, fresh_segment_name
from platolm.spec import OutputFormat
from platolm.storage import Place
from services.orchestrator.crash_points import crash_point
from services.orchestrator.datasets.index_set import IndexSet


@dataclass(frozen=True)
class Committed:
    """What a commit added; nothing where all of it was in the dataset already."""

    num_records: int = 0
    size_bytes: int = 0


@dataclass(frozen=True)
class _Segment:
    """A segment that is in its place and that no entry names yet."""

    name: str
    indices: list[int]
    size_bytes: int
    sha256: str
    summary: SegmentSummary | None


class DatasetWriter:
    """Appends to one run's dataset. `committed` holds every index that the manifest names; `realism` adds up what its
    entries say of the user, so that each conversation counts once, whoever committed it.

    One thread at a time may use it; `committed` may be read meanwhile.
    """

    def __init__(self, place: Place, *, conversations: int, form: OutputFormat = OutputFormat.JSONL) -> None:
        """Read the manifest.

        Raises:
            OutputError: the place does not answer, or the run is not there: a disk that is not mounted looks empty.
        """
        self._place = place
        self._form = form
        self._last_entry = 0
        self._unnamed: _Segment | None = None
        self.committed = IndexSet(conversations)
        self.realism = Realism()
        if place.read(RUN_FILE) is None:
            raise OutputError(f"{place} does not hold the run: its {RUN_FILE} is missing")
        self.refresh()

    def refresh(self) -> set[str]:
        """Read the manifest entries that this writer has not seen; gives the segments that they name.

        Raises:
            OutputError: one cannot be read, or is not of this run.
        """
        named = set()
        for entry in iter_manifest(self._place, after=self._last_entry):
            try:
                self.committed.update(entry.indices)
            except ValueError as error:
                raise OutputError(f"{self._place}/{manifest_name(entry.number)} is damaged: {error}") from error
            self._measure(entry.summary)
            self._last_entry = entry.number
            named.add(entry.segment)
        if named:  # who made them may have died before they were durable, and their records are about to be forgotten
            self._place.sync(MANIFEST_FOLDER)
        return named

    def commit(self, records: Mapping[int, str]) -> Committed:
        """Put records (JSON, by index) into the dataset, those that are not in it yet.

        Raises:
            OutputError: the place cannot be written. What was committed is not known: ask again with the same records.
        """
        while fresh := {i: record for i, record in sorted(records.items()) if i not in self.committed}:
            segment = self._segment_of(fresh)
            if self._make_count(segment):
                return Committed(len(fresh), segment.size_bytes)
            self._leave_to_others(segment)
        return Committed()

    def _segment_of(self, fresh: Mapping[int, str]) -> _Segment:
        """Write the records' segment, unless an attempt that failed after it has left it there."""
        if self._unnamed is not None and self._unnamed.indices == list(fresh):
            return self._unnamed
        crash_point("writer.before_segment")
        content = encode_segment(fresh.values(), self._form)
        name = fresh_segment_name(self._form)
        self._place.write(segment_name(name), [content], before_visible=lambda: crash_point("writer.segment_written"))
        crash_point("writer.segment_renamed")
        digest, summary = hashlib.sha256(content).hexdigest(), summary_of(fresh.values())
        self._unnamed = _Segment(name, list(fresh), len(content), digest, summary)
        return self._unnamed

    def _make_count(self, segment: _Segment) -> bool:
        """Create the next manifest entry; False where another writer has."""
        entry = ManifestEntry(
            number=self._last_entry + 1,
            segment=segment.name,
            indices=segment.indices,
            size_bytes=segment.size_bytes,
            sha256=segment.sha256,
            summary=segment.summary,
        )
        if not self._place.create(manifest_name(entry.number), entry.model_dump_json().encode()):
            return False
        crash_point("writer.manifest_linked")
        self._unnamed = None
        self._last_entry = entry.number
        self.committed.update(segment.indices)
        self._measure(segment.summary)
        return True

    def _measure(self, summary: SegmentSummary | None) -> None:
        """Segments of before there were measures, and those that cannot be counted, are left out."""
        if summary is not None and summary.realism is not None:
            self.realism.merge(summary.realism)

    def _leave_to_others(self, segment: _Segment) -> None:
        """Read who was first. That may have been this writer, in an attempt of which no answer came."""
        named = self.refresh()
        if not named:
            raise OutputError(
                f"{self._place} says that manifest entry {self._last_entry + 1} exists, and does not give it"
            )
        self._unnamed = None
        if segment.name not in named:
            with suppress(OutputError):  # litter without effect
                self._place.remove(segment_name(segment.name))


def summary_of(records: Iterable[str]) -> SegmentSummary | None:
    """What is in a segment of these records; None where one cannot be counted, which is no reason not to keep it."""
    try:
        return SegmentSummary.of(map(orjson.loads, records))
    except (KeyError, TypeError, ValueError):
        return None
