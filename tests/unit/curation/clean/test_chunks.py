"""The unit of work: records that travel, dialogues that wait in files, lines that are written."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest

from curation.clean.chunks import (
    Verdicts,
    chunks_of,
    clean_chunk,
    cleaned_file,
    early_counts,
    finish_chunk,
    late_counts,
    line_of,
    parsed,
    unpacked,
)
from curation.clean.duplicates import NUM_VALUES, digest_of
from curation.clean.report import StageCount
from curation.clean.settings import CleanSettings, StageName
from curation.clean.stages import Dropped
from curation.dialogue import Dialogue
from curation.reading import Entry
from platolm.conversation import ASSISTANT, USER, Message
from platolm.errors import BadLine
from tests.unit.curation.clean.records import prose, record
from tests.unit.curation.clean.spoken import spoken

NO_STAGES = CleanSettings(stages=frozenset())
DUPLICATES = CleanSettings(stages=frozenset({StageName.EXACT_DUPLICATES, StageName.NEAR_DUPLICATES}))


def entries(*records: Any) -> list[Entry]:
    return [Entry(f"f.jsonl:{number}", one) for number, one in enumerate(records, start=1)]


def test_a_chunk_ends_where_it_is_large_enough() -> None:
    made = entries(*(record(f"r{n}", "x" * 100) for n in range(25)))
    chunks = list(chunks_of(made, chunk_bytes=1000))
    assert [chunk.number for chunk in chunks] == list(range(len(chunks)))
    assert len(chunks) > 3
    assert all(sum(map(len, chunk.records[:-1])) < 1000 for chunk in chunks)
    assert [unpacked(packed) for chunk in chunks for packed in chunk.records] == made


def test_nothing_is_no_chunk() -> None:
    assert list(chunks_of([])) == []


def test_a_chunk_holds_no_more_than_four_thousand_records() -> None:
    assert [len(chunk.records) for chunk in chunks_of(entries(*[1] * 5000))] == [4096, 904]


def test_a_record_too_deep_to_travel_is_an_unreadable_one() -> None:
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    (chunk,) = chunks_of(entries({"id": "d", "conversations": deep}))
    assert unpacked(chunk.records[0]).record == BadLine(0, "nested too deeply")


def test_what_cannot_be_read_is_counted_by_its_reason_without_numbers() -> None:
    parse = StageCount("parse")
    bad = [{"conversations": [{"from": "human", "value": "q"}] * n + [3]} for n in range(3)]
    for entry in entries(BadLine(1, "not JSON: Expecting value"), *bad, record("r", "q", "a")):
        list(parsed(entry, None, parse))
    assert (parse.conversations_in, parse.conversations_out, parse.turns_out) == (5, 1, 2)
    assert parse.dropped == {"not JSON": 1, "turn N must be an object, not int": 3}
    shown = parse.as_json()["examples"]
    assert [one["origin"] for one in shown] == ["f.jsonl:1", "f.jsonl:2", "f.jsonl:3", "f.jsonl:4"]
    assert [one["reason"] for one in shown] == [
        "not JSON: Expecting value",
        "turn 0 must be an object, not int",
        "turn 1 must be an object, not int",
        "turn 2 must be an object, not int",
    ]


@pytest.mark.parametrize("begin", range(800, 1000, 40))
def test_however_deep_it_is_written_or_told(begin: int, tmp_path: Path) -> None:
    """At no depth does something that could be read end the work later."""
    for depth in range(begin, begin + 40):
        nested: Any = []
        for _ in range(depth):
            nested = [nested]
        (chunk,) = chunks_of(entries(record("deep", "q", "a", x=nested)))
        (parse,) = clean_chunk(NO_STAGES, tmp_path, None, chunk).counts
        lines = finish_chunk(NO_STAGES, tmp_path, Verdicts(0, {})).lines
        assert (parse.conversations_out, parse.dropped["nested too deeply"], lines.count(b"\n")) in [
            (1, 0, 1),
            (0, 1, 0),
        ]


def test_what_is_left_of_a_chunk_waits_in_its_file(tmp_path: Path) -> None:
    (chunk,) = chunks_of(entries(record("a", "q", "x"), {"no": "dialogue"}, record("b", "q")))
    cleaned = clean_chunk(DUPLICATES, tmp_path, None, chunk)
    waiting = pickle.loads(cleaned_file(tmp_path, 0).read_bytes())
    assert [one.id for one in waiting] == list(cleaned.ids) == ["a", "b"]
    assert cleaned.digests == [digest_of(one.messages) for one in waiting]
    assert len(cleaned.signatures) == 2 * 4 * NUM_VALUES
    assert [(count.name, count.conversations_in, count.conversations_out) for count in cleaned.counts] == [
        ("parse", 3, 2)
    ]


def test_without_the_stages_for_them_nothing_is_computed_for_duplicates(tmp_path: Path) -> None:
    (chunk,) = chunks_of(entries(record("a", "q", "x")))
    cleaned = clean_chunk(NO_STAGES, tmp_path, None, chunk)
    assert (cleaned.digests, cleaned.signatures) == ([], b"")


def test_duplicates_are_left_out_and_counted_each_where_it_was_found(tmp_path: Path) -> None:
    (chunk,) = chunks_of(entries(*(record(f"r{n}", prose(n), prose(n)) for n in range(4))))
    clean_chunk(DUPLICATES, tmp_path, None, chunk)
    dropped = {
        StageName.EXACT_DUPLICATES: {1: Dropped("repeats", "r0")},
        StageName.NEAR_DUPLICATES: {3: Dropped("nearly", "r2")},
    }
    finished = finish_chunk(DUPLICATES, tmp_path, Verdicts(0, dropped))
    assert [json.loads(line)["id"] for line in finished.lines.splitlines()] == ["r0", "r2"]
    assert [(count.name, count.conversations_in, count.conversations_out) for count in finished.counts] == [
        ("exact_duplicates", 4, 3),
        ("near_duplicates", 3, 2),
    ]


def test_accounts_are_of_the_stages_that_run() -> None:
    every = CleanSettings(stages=frozenset(StageName), max_length=100, tokenizer="t")
    early, late = early_counts(every), late_counts(every)
    assert [count.name for count in (*early, *late)] == ["parse", *(name.value for name in StageName)]
    assert [count.name for count in (*early_counts(NO_STAGES), *late_counts(NO_STAGES))] == ["parse"]


def test_a_line_is_a_sharegpt_record() -> None:
    line = line_of(spoken("größe", "\u2028x", model="m"))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == {
        "id": "d",
        "conversations": [{"from": "human", "value": "größe"}, {"from": "gpt", "value": "\u2028x"}],
        "model": "m",
    }


@pytest.mark.parametrize(
    ("fields", "written"),
    [
        ({"n": 2**70}, {"n": 2**70}),
        ({"s": "\ud800"}, {"s": "\ud800"}),
        ({"f": float("nan"), "t": (1,)}, {"f": None, "t": [1]}),
        ({3: "a", None: "b"}, {"3": "a", "null": "b"}),
        ({"p": Path("x")}, {"p": "x"}),
    ],
)
def test_what_json_has_no_form_for_is_written_all_the_same(fields: dict[Any, Any], written: dict[str, Any]) -> None:
    dialogue = Dialogue("d", (Message(USER, "q"), Message(ASSISTANT, "\ud83d a")), "", fields)
    found = json.loads(line_of(dialogue))
    assert found["conversations"][1]["value"] == "\ud83d a"
    assert {key: value for key, value in found.items() if key not in ("id", "conversations")} == written
