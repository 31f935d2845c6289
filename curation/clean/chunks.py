"""The unit of work of a process: consecutive records on their way in, cleaned dialogues in a file on their way on."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from curation.clean.chain import counts_of, local_stages, run_stages, split_stages
from curation.clean.duplicates import digest_of, signatures_of
from curation.clean.report import StageCount
from curation.clean.settings import GLOBAL_STAGES, PARSE, CleanSettings, StageName
from curation.clean.stages import Dropped, Stage
from curation.dialogue import Dialogue
from curation.reading import Entry, Unreadable, dialogues_of
from platolm.errors import BadLine

_CHUNK_BYTES = 4 << 20
_MAX_RECORDS = 4096
_SPARE_LEVELS = 40  # of the stack
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True)
class Chunk:
    """Consecutive records, pickled one by one; where a chunk ends depends on the data alone."""

    number: int
    records: Sequence[bytes]


@dataclass(frozen=True)
class Cleaned:
    """What became of a chunk; the dialogues that are left lie in a file. `signatures` are bytes of a matrix' rows."""

    number: int
    counts: Sequence[StageCount]
    ids: Sequence[str]
    digests: Sequence[bytes]
    signatures: bytes


@dataclass(frozen=True)
class Verdicts:
    """Which dialogues of a cleaned chunk are duplicates, by position, for each stage that looks for them."""

    number: int
    dropped: Mapping[StageName, Mapping[int, Dropped]]


@dataclass(frozen=True)
class Finished:
    """JSON lines of what is left at the end."""

    lines: bytes
    counts: Sequence[StageCount]


def chunks_of(entries: Iterable[Entry], chunk_bytes: int = _CHUNK_BYTES) -> Iterator[Chunk]:
    """Records in order, in chunks of about so many bytes."""
    packed: list[bytes] = []
    number = size = 0
    for entry in entries:
        packed.append(_packed(entry))
        size += len(packed[-1])
        if size >= chunk_bytes or len(packed) >= _MAX_RECORDS:
            yield Chunk(number, packed)
            packed, number, size = [], number + 1, 0
    if packed:
        yield Chunk(number, packed)


def clean_chunk(settings: CleanSettings, folder: Path, form: str | None, chunk: Chunk) -> Cleaned:
    """Run the stages before the duplicates; writes what is left into the folder."""
    stages = _local_stages(settings)
    parse, *counts = early_counts(settings)
    left: list[Dialogue] = []
    for packed in chunk.records:
        for dialogue in parsed(unpacked(packed), form, parse):
            left += run_stages(stages, dialogue, counts)
    cleaned_file(folder, chunk.number).write_bytes(pickle.dumps(left, pickle.HIGHEST_PROTOCOL))
    return Cleaned(
        chunk.number,
        [parse, *counts],
        [dialogue.id for dialogue in left],
        _digests(settings, left),
        _signatures(settings, left),
    )


def finish_chunk(settings: CleanSettings, folder: Path, verdicts: Verdicts) -> Finished:
    """Leave duplicates out, and run the stages after them."""
    counts = late_counts(settings)
    duplicates, later = counts[: len(verdicts.dropped)], counts[len(verdicts.dropped) :]
    lines = []
    for position, dialogue in enumerate(pickle.loads(cleaned_file(folder, verdicts.number).read_bytes())):
        if _is_kept(dialogue, position, verdicts, duplicates):
            lines += [line_of(one) for one in run_stages(_split_stages(settings), dialogue, later)]
    return Finished(b"".join(lines), counts)


def early_counts(settings: CleanSettings) -> list[StageCount]:
    """Empty accounts of the reading and the stages before the duplicates."""
    return [StageCount(PARSE), *counts_of(_local_stages(settings))]


def late_counts(settings: CleanSettings) -> list[StageCount]:
    """Empty accounts of the duplicates and the stages after them."""
    return [*(StageCount(name.value) for name in global_stages(settings)), *counts_of(_split_stages(settings))]


def global_stages(settings: CleanSettings) -> tuple[StageName, ...]:
    """Those that look for duplicates, in order."""
    return tuple(name for name in StageName if name in settings and name in GLOBAL_STAGES)


def cleaned_file(folder: Path, number: int) -> Path:
    """Where a chunk's dialogues wait until all are known."""
    return folder / f"{number:06d}.pickle"


def parsed(entry: Entry, form: str | None, parse: StageCount) -> Iterator[Dialogue]:
    """The dialogues of a record, counted; a reason to have none is counted without the numbers in it."""
    for found in dialogues_of(entry.record, entry.origin, form=form):
        if isinstance(found, Unreadable):
            parse.unreadable(found.origin, _kind_of(found.reason), found.reason)
        else:
            yield from parse.pass_on(found, found)


def _kind_of(reason: str) -> str:
    """A reason without what is of one record alone, so that there are few to count."""
    return _NUMBER.sub("N", reason.partition(": ")[0])


def line_of(dialogue: Dialogue) -> bytes:
    """The dialogue as a JSON line; what JSON has no form for is written as its text."""
    record = dialogue.as_record()
    try:
        return orjson.dumps(record, default=str, option=orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS)
    except TypeError:  # whole numbers of more than 64 bits, lone surrogates, 255 levels: rare, and valid JSON
        without_nan = json.loads(json.dumps(record, default=str), parse_constant=lambda constant: None)
        return json.dumps(without_nan, separators=(",", ":")).encode() + b"\n"


def _packed(entry: Entry) -> bytes:
    """Deeper than it will ever lie again: what can be packed like this can be packed and written later."""
    try:
        return pickle.dumps(_nested(entry), pickle.HIGHEST_PROTOCOL)
    except RecursionError:
        return pickle.dumps(_nested(Entry(entry.origin, BadLine(0, "nested too deeply"))), pickle.HIGHEST_PROTOCOL)


def unpacked(packed: bytes) -> Entry:
    """A record of a chunk."""
    nested = pickle.loads(packed)
    while isinstance(nested, tuple):
        (nested,) = nested
    assert isinstance(nested, Entry)
    return nested


def _nested(entry: Entry) -> Any:
    nested: Any = entry
    for _ in range(_SPARE_LEVELS):
        nested = (nested,)
    return nested


def _digests(settings: CleanSettings, dialogues: Sequence[Dialogue]) -> list[bytes]:
    if StageName.EXACT_DUPLICATES not in settings:
        return []
    return [digest_of(dialogue.messages) for dialogue in dialogues]


def _signatures(settings: CleanSettings, dialogues: Sequence[Dialogue]) -> bytes:
    if StageName.NEAR_DUPLICATES not in settings:
        return b""
    return signatures_of([dialogue.messages for dialogue in dialogues]).tobytes()


def _is_kept(dialogue: Dialogue, position: int, verdicts: Verdicts, counts: Sequence[StageCount]) -> bool:
    for dropped, count in zip(verdicts.dropped.values(), counts, strict=True):
        if not count.pass_on(dialogue, dropped.get(position, dialogue)):
            return False
    return True


@lru_cache(maxsize=1)
def _local_stages(settings: CleanSettings) -> tuple[Stage, ...]:
    return local_stages(settings)


@lru_cache(maxsize=1)
def _split_stages(settings: CleanSettings) -> tuple[Stage, ...]:
    return split_stages(settings)
