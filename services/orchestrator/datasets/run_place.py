"""Where a run lies: `run.json`, `seeds.jsonl`, segments, manifest, in a folder of its own on a disk or at a URL."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import BinaryIO

from platolm.dataset import (
    MANIFEST_FOLDER,
    RUN_FILE,
    SEGMENTS_FOLDER,
    ManifestEntry,
    Record,
    iter_manifest,
    manifest_name,
    open_committed,
    read_records,
    segment_name,
    segment_records,
)
from platolm.errors import InputError, OutputError
from platolm.segment_summary import SegmentSummary
from platolm.segments import is_usable_name
from platolm.spec import RunSpec, Seed
from platolm.storage import Place, open_place
from services.orchestrator.datasets.catalogue import Catalogue
from services.orchestrator.datasets.seed_file import SEEDS_FILE, SeedFile, open_seed_file
from services.orchestrator.runs.allowed import refusal_of

_RUNS_FOLDER = "runs"
_CACHE_FOLDER = Path("cache", "seeds")


class RunPlaces:
    """Finds runs: below the data folder, or where their specs say."""

    def __init__(self, data_dir: Path, allowed_outputs: Sequence[str] = ()) -> None:
        self._data_dir = data_dir
        self._allowed_outputs = allowed_outputs

    @property
    def runs_folder(self) -> Path:
        """Where runs lie that name no other place."""
        return self._data_dir / _RUNS_FOLDER

    def of(self, run_id: str, spec: RunSpec) -> RunPlace:
        """A run's place; nothing is looked at yet.

        Raises:
            InputError: the spec names a place that the operator does not allow, or that cannot be used.
        """
        cache = self._data_dir / _CACHE_FOLDER / f"{run_id}.jsonl"
        if spec.output.url is None:
            return RunPlace(open_place(self.runs_folder / run_id), spec.conversations, cache)
        refusal = refusal_of(spec.output.url, self._allowed_outputs, setting="allowed_outputs")
        if refusal is not None:
            raise InputError(f"output.url {spec.output.url} {refusal}")
        return RunPlace(open_place(f"{spec.output.url.rstrip('/')}/{run_id}"), spec.conversations, cache)

    def forget(self, run_id: str) -> None:
        """Drop the copy of a remote run's seeds, where there is one."""
        (self._data_dir / _CACHE_FOLDER / f"{run_id}.jsonl").unlink(missing_ok=True)


class RunPlace:
    """One run's files. Its methods block; several threads may call them."""

    def __init__(self, place: Place, conversations: int, seed_cache: Path) -> None:
        self.place = place
        self._conversations = conversations
        self._seed_cache = seed_cache
        self._seeds: SeedFile | None = None
        self._entry_of = array("I")
        self._catalogue = Catalogue()
        self._lock = Lock()

    @property
    def url(self) -> str:
        return self.place.url

    def create(self, spec: RunSpec, seeds: Iterable[Seed]) -> None:
        """Write the immutable part, synced, before the run exists anywhere else.

        Raises:
            InputError: the place cannot take a name exclusively, so that no dataset can be written there.
            OutputError: no space, or the place cannot be written.
        """
        self.place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
        described = spec.model_dump_json(indent=1).encode()
        if not self.place.create(RUN_FILE, described) or self.place.create(RUN_FILE, described + b"\n"):
            self.place.remove(RUN_FILE)
            raise InputError(f"{self.url} gives one name to two writers: a dataset needs a store with conditional puts")
        self.place.write(SEEDS_FILE, (seed.model_dump_json(exclude_none=True).encode() + b"\n" for seed in seeds))

    def discard(self) -> None:
        """Take back what `create` wrote, for a run that did not come to be."""
        for name in (SEEDS_FILE, RUN_FILE):
            self.place.remove(name)

    def seeds(self) -> SeedFile:
        """The run's seeds by position; none for a free run.

        Raises:
            OutputError: they cannot be read.
        """
        with self._lock:
            if self._seeds is None:
                self._seeds = open_seed_file(self.place, self._seed_cache)
            return self._seeds

    def manifest(self, *, after: int = 0) -> Iterator[ManifestEntry]:
        """The committed segments in order, those numbered above `after`.

        Raises:
            OutputError: an entry cannot be read.
        """
        return iter_manifest(self.place, after=after)

    def open_segment(self, name: str) -> BinaryIO | None:
        """A segment's bytes; None where there is none of that name, or the name cannot be one.

        Raises:
            OutputError: it cannot be read.
        """
        return self.place.open(segment_name(name)) if is_usable_name(name) else None

    def records(self) -> Iterator[Record]:
        """Every committed record, in the order of commitment.

        Raises:
            OutputError: a segment cannot be read.
        """
        return read_records(self.place)

    def find(self, index: int) -> Record | None:
        """The committed record of one conversation; None where it is not in the dataset (yet).

        Four bytes for each conversation up to the last committed one remember which segment holds it.

        Raises:
            OutputError: its segment cannot be read.
        """
        number = self._entry_number(index)
        if number == 0:
            return None
        records = segment_records(self.place, self.entry(number))
        return next((record for record in records if record["index"] == index), None)

    def entry(self, number: int) -> ManifestEntry:
        """The manifest's entry of a segment that is known.

        Raises:
            OutputError: it cannot be read.
        """
        entry = next(iter_manifest(self.place, after=number - 1), None)
        if entry is None:
            raise OutputError(f"{self.url}/{manifest_name(number)} is gone")
        return entry

    def open_committed(self, entry: ManifestEntry) -> BinaryIO:
        """The bytes of a segment that the manifest names.

        Raises:
            OutputError: it is missing, or cannot be read.
        """
        return open_committed(self.place, entry)

    def catalogue(self) -> Catalogue:
        """Where segments begin and what is in them, those included that were committed since the last look.

        It only grows, so that others may read it meanwhile.

        Raises:
            OutputError: a manifest entry cannot be read.
        """
        with self._lock:
            self._learn_entries()
        return self._catalogue

    def summarise(self, number: int) -> None:
        """Count what is in a segment whose entry does not say so, for the catalogue.

        Raises:
            OutputError: it cannot be read, or has records that cannot be counted.
        """
        entry = self.entry(number)
        try:
            summary = SegmentSummary.of(segment_records(self.place, entry))
        except (KeyError, TypeError, ValueError) as error:
            raise OutputError(f"{self.url}/{segment_name(entry.segment)} has a record that lacks {error}") from error
        with self._lock:
            self._catalogue.learn(number, summary)

    def totals(self) -> SegmentSummary:
        """The summaries of all segments that have one, added up, as of now."""
        with self._lock:
            return self._catalogue.totals.model_copy(deep=True)

    def entry_numbers(self, indices: Iterable[int]) -> dict[int, list[int]]:
        """These conversations by the segment that holds them; those that are not in the dataset are left out."""
        found: dict[int, list[int]] = {}
        for index in indices:
            number = self._entry_of[index] if index < len(self._entry_of) else 0
            if number:
                found.setdefault(number, []).append(index)
        return found

    def _entry_number(self, index: int) -> int:
        """Which entry names a conversation, from 1; 0: none."""
        if not 0 <= index < self._conversations:
            return 0
        with self._lock:
            if index >= len(self._entry_of) or self._entry_of[index] == 0:
                self._learn_entries()
            return self._entry_of[index] if index < len(self._entry_of) else 0

    def _learn_entries(self) -> None:
        for entry in iter_manifest(self.place, after=len(self._catalogue)):
            missing = max(entry.indices, default=-1) + 1 - len(self._entry_of)
            if missing > 0:
                self._entry_of.frombytes(bytes(missing * self._entry_of.itemsize))
            for index in entry.indices:
                self._entry_of[index] = entry.number
            self._catalogue.add(entry)
