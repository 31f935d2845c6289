"""Finding records in a dataset of any size: a page at a time, from a position on, for a bounded time."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import orjson

from platolm.browse_api import OPENING_CHARS, MarkFilter, RecordPage, RecordSummary, Snippet
from platolm.conversation import SHAREGPT_ROLES
from platolm.dataset import ManifestEntry
from platolm.marks import Mark, marked_indices, read_marks
from platolm.segments import Record
from services.orchestrator.browse.lines import line_pieces
from services.orchestrator.browse.needle import Needle
from services.orchestrator.datasets.catalogue import ANY, endings_mask, rounds_mask
from services.orchestrator.datasets.run_place import RunPlace

LOOKS_FOR_S = 1.0
"""What a request may take; a piece of a segment that was begun is looked through."""

Look = tuple[int, RecordSummary | None]
"""The position behind what was looked at, and what was found there."""


@dataclass(frozen=True)
class Wanted:
    """Which records are asked for; all of it has to hold."""

    text: str | None = None
    ending: str | None = None
    min_rounds: int = 0
    max_rounds: int | None = None
    mark: MarkFilter | None = None

    @property
    def is_of_rounds(self) -> bool:
        return self.min_rounds > 0 or self.max_rounds is not None

    def has_counts(self, record: Record) -> bool:
        """Whether a record's ending and rounds are as asked."""
        num_rounds: int = record["num_rounds"]
        if self.ending is not None and record["termination_reason"] != self.ending:
            return False
        return num_rounds >= self.min_rounds and (self.max_rounds is None or num_rounds <= self.max_rounds)


class Search:
    """Looks through one dataset. It blocks; memory holds a piece of one segment."""

    def __init__(self, place: RunPlace, wanted: Wanted, *, looks_for_s: float = LOOKS_FOR_S) -> None:
        self._place = place
        self._wanted = wanted
        self._needle = Needle(wanted.text) if wanted.text else None
        self._ending = wanted.ending.encode() if wanted.ending is not None else None
        self._endings = endings_mask([wanted.ending]) if wanted.ending is not None else ANY
        self._rounds = rounds_mask(wanted.min_rounds, wanted.max_rounds)
        self._deadline = time.monotonic() + looks_for_s
        self._catalogue = place.catalogue()
        self._total = self._catalogue.num_records
        self._num_segments = len(self._catalogue)

    def page(self, start: int, limit: int) -> RecordPage:
        """Up to `limit` records from position `start` on; fewer where the time is over.

        Raises:
            OutputError: the place does not answer, or a segment is missing.
        """
        found: list[RecordSummary] = []
        at = start
        for at, record in self._looks(start):
            if record is not None:
                found.append(record)
            if len(found) >= limit or time.monotonic() > self._deadline:
                return self._page(found, at)
        return self._page(found, max(self._total, at))

    def _page(self, found: list[RecordSummary], at: int) -> RecordPage:
        if self._wanted.mark is None:  # with a filter by mark each has its own already
            marks = read_marks(self._place.place, [record.index for record in found])
            found = [record.model_copy(update={"mark": marks.get(record.index)}) for record in found]
        return RecordPage(
            records=found,
            next_cursor=str(at) if at < self._total else None,
            searched=min(at, self._total),
            total=self._total,
        )

    def _looks(self, start: int) -> Iterator[Look]:
        """Segment by segment; those are opened that may hold what is asked for."""
        marked = self._marked_by_segment()
        for number in range(self._catalogue.number_at(start), self._num_segments + 1):
            if marked is not None and number not in marked:
                continue
            is_read = self._wants_counts and not self._catalogue.is_summarised(number)
            if is_read:
                self._place.summarise(number)
            if not self._wants_counts or self._catalogue.may_hold(number, self._endings, self._rounds):
                marks = self._wanted_marks(marked[number]) if marked is not None else None
                if marks is None or marks:
                    yield from self._look_through(number, start, marks)
            elif is_read:
                yield self._catalogue.first_of(number + 1), None

    @property
    def _wants_counts(self) -> bool:
        return self._ending is not None or self._wanted.is_of_rounds

    def _marked_by_segment(self) -> dict[int, list[int]] | None:
        """The marked conversations by segment; None where marks do not matter."""
        if self._wanted.mark is None:
            return None
        return self._place.entry_numbers(marked_indices(self._place.place))

    def _wanted_marks(self, indices: Collection[int]) -> dict[int, Mark]:
        wanted = self._wanted.mark
        marks = read_marks(self._place.place, indices)
        return {index: mark for index, mark in marks.items() if wanted is not None and wanted.takes(mark)}

    def _look_through(self, number: int, start: int, marks: Mapping[int, Mark] | None) -> Iterator[Look]:
        entry = self._place.entry(number)
        position = self._catalogue.first_of(number)
        for lines in self._pieces(entry):
            behind = position + lines.count(b"\n")
            if behind > start:
                if self._may_match(lines):
                    yield from self._matches(lines, position, start, marks)
                yield behind, None
            position = behind
            time.sleep(0)  # lets go of the interpreter, which the event loop may be waiting for

    def _pieces(self, entry: ManifestEntry) -> Iterator[bytes]:
        with self._place.open_committed(entry) as file:
            yield from line_pieces(file, entry.segment)

    def _matches(self, lines: bytes, first: int, start: int, marks: Mapping[int, Mark] | None) -> Iterator[Look]:
        for position, line in enumerate(lines.split(b"\n"), first):
            if position < start or not line or not self._may_match(line):
                continue
            record = orjson.loads(line)
            if not self._wanted.has_counts(record) or (marks is not None and record["index"] not in marks):
                continue
            snippet = self._snippet(record)
            if self._needle is None or snippet is not None:
                mark = marks[record["index"]] if marks is not None else None
                yield position + 1, record_summary(record, position, snippet, mark)

    def _may_match(self, lines: bytes) -> bool:
        """Whether these bytes are worth parsing."""
        if self._ending is not None and self._ending not in lines:
            return False
        return self._needle is None or self._needle.may_be_in(lines)

    def _snippet(self, record: Record) -> Snippet | None:
        """The first utterance that holds the searched text."""
        for turn_index, turn in enumerate(record["conversations"]):
            span = self._needle.find(turn["value"]) if self._needle is not None else None
            if span is not None:
                role = SHAREGPT_ROLES.get(turn["from"].lower(), turn["from"])
                return span.snippet(turn["value"], role, turn_index)
        return None


def record_summary(
    record: Record, position: int, snippet: Snippet | None = None, mark: Mark | None = None
) -> RecordSummary:
    """A record in one line of a list."""
    said = record["conversations"]
    return RecordSummary(
        id=record["id"],
        index=record["index"],
        position=position,
        termination_reason=record["termination_reason"],
        num_rounds=record["num_rounds"],
        num_tokens=sum(turn["num_tokens"] for turn in record["turns"]),
        opening=said[0]["value"][:OPENING_CHARS] if said else "",
        snippet=snippet,
        mark=mark,
    )
