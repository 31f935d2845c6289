"""From files of questions to a seed file: each record once, those left out counted by reason."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from curation.reading import Entry, entries_of, files_of
from curation.reading.forms import default_id
from curation.seeds.sampling import Draw, digest_of
from curation.seeds.sources import Found, Kind, LeftOutError, Reason, find
from platolm.errors import BadLine, InputError
from platolm.storage import open_atomically

BY_FILE = "file"
"""A stratum for each input file, as the baselines are drawn."""

_TEXT_SUFFIX = ".txt"


@dataclass(frozen=True)
class Choice:
    """Which of the records become seeds. `stratify` is a field of the records, or `BY_FILE`; it needs `sample`."""

    kind: Kind = Kind.AUTO
    sample: int | None = None
    seed: int = 0
    stratify: str | None = None
    keep_repeats: bool = False
    used_ids: frozenset[str] = frozenset()


@dataclass
class SeedReport:
    """What was read, written and left out; `first` is where each reason was met first, `strata` what each gave."""

    num_read: int = 0
    num_written: int = 0
    left_out: Counter[Reason] = field(default_factory=Counter)
    first: dict[Reason, str] = field(default_factory=dict)
    strata: dict[str, int] = field(default_factory=dict)

    def leave_out(self, reason: Reason, origin: str) -> None:
        self.left_out[reason] += 1
        self.first.setdefault(reason, origin)

    def lines(self) -> list[str]:
        """For people: one line for all, one a reason, one for the strata."""
        lines = [f"{self.num_read:,} records read, {self.num_written:,} seeds, {self.left_out.total():,} left out"]
        for reason, count in self.left_out.most_common():
            where = f" (first: {self.first[reason]})" if reason in self.first else ""
            lines.append(f"  {count:,} × {reason}{where}")
        if self.strata:
            lines.append("  " + ", ".join(f"{name or '(none)'} {count:,}" for name, count in self.strata.items()))
        return lines


def make_seeds(
    paths: Sequence[Path], out: Path, choice: Choice, *, on_record: Callable[[], None] = lambda: None
) -> SeedReport:
    """Write a seed file. Without a draw its order is the input's, with one it is as random as the draw.

    The same records and choice give the same bytes. Memory holds 16 bytes a question, and what is drawn.

    Raises:
        InputError: a file cannot be read, nothing is left to write, or no record has the field to stratify by.
        OutputError: the file cannot be written.
    """
    if choice.stratify is not None and choice.sample is None:
        raise InputError("--stratify needs --sample N: how many to draw in all")
    files = files_of(paths)
    if out.exists() and any(out.samefile(file) for file in files):
        raise InputError(f"{out} is an input: give another --out")
    report = SeedReport()
    candidates = _candidates(files, choice, report, on_record)
    with open_atomically(out) as target:
        seeds = (found for found, _, _ in candidates) if choice.sample is None else _drawn(candidates, choice, report)
        _write(seeds, target, report)
        if not report.num_written:
            raise InputError(f"no seed is left: {'; '.join(line.strip() for line in report.lines())}")
    return report


def read_used_ids(files: Iterable[Path]) -> frozenset[str]:
    """The ids of earlier seed files: of records with an `id`, of bare JSON values, or of lines of text.

    Raises:
        InputError: a file cannot be read, or has a record without an id.
    """
    used: set[str] = set()
    for file in files:
        for entry in _entries_in(file):
            identifier = entry.record.get("id") if isinstance(entry.record, dict) else entry.record
            if isinstance(identifier, bool) or not isinstance(identifier, str | int):
                raise InputError(f"{entry.origin} has no id: --without-ids takes records with an id, or a .txt of ids")
            used.add(str(identifier))
    return frozenset(used)


_Candidate = tuple[Found, bytes, Path]


def _candidates(
    files: Iterable[Path], choice: Choice, report: SeedReport, on_record: Callable[[], None]
) -> Iterator[_Candidate]:
    """What could be a seed, in input order; everything else is counted."""
    asked: set[bytes] = set()
    for file in files:
        for entry in _entries_in(file):
            report.num_read += 1
            on_record()
            try:
                found = find(entry.record, choice.kind, default_id=default_id(entry.origin))
                digest = digest_of(found.question)
                if found.id in choice.used_ids:
                    raise LeftOutError(Reason.USED)
                if digest in asked and not choice.keep_repeats:
                    raise LeftOutError(Reason.REPEATED)
            except LeftOutError as left_out:
                report.leave_out(left_out.reason, entry.origin)
                continue
            asked.add(digest)
            yield found, digest, file


def _drawn(candidates: Iterable[_Candidate], choice: Choice, report: SeedReport) -> list[Found]:
    assert choice.sample is not None
    draw = Draw(choice.sample, choice.seed)
    has_field = choice.stratify in (None, BY_FILE)
    for found, digest, file in candidates:
        value = file.name if choice.stratify == BY_FILE else found.fields.get(choice.stratify or "")
        has_field = has_field or value is not None
        draw.offer(found, digest, str(value) if choice.stratify and value is not None else "")
    if not has_field and draw.counts:
        raise InputError(f"no record has a field {choice.stratify!r}: --stratify takes one that they have, or file")
    drawn = draw.drawn()
    if num_left := draw.counts.total() - len(drawn):
        report.left_out[Reason.NOT_DRAWN] = num_left
    report.strata = dict(sorted(draw.shares().items())) if choice.stratify else {}
    return drawn


def _write(seeds: Iterable[Found], target: BinaryIO, report: SeedReport) -> None:
    for found in seeds:
        target.write(json.dumps(found.as_record(), ensure_ascii=False).encode() + b"\n")
        report.num_written += 1


def _entries_in(file: Path) -> Iterator[Entry]:
    """The records of a file; of a text file each line that says something."""
    return _text_lines(file) if file.suffix == _TEXT_SUFFIX else entries_of([file])


def _text_lines(file: Path) -> Iterator[Entry]:
    try:
        with file.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                try:
                    text: Any = line.decode().strip()
                except UnicodeDecodeError:
                    text = BadLine(number, "not UTF-8")
                if text:
                    yield Entry(f"{file}:{number}", text)
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from error
