"""The account of the data, added up and said in words."""

from __future__ import annotations

import json

from training.data.report import DataReport, Example, RowCounts, SkipReason


def report_with(num: int, reason: SkipReason, file: str) -> DataReport:
    report = DataReport(num_read=num + 2, train=RowCounts(num_conversations=1, num_rows=2, num_tokens=10, num_labels=4))
    report.held_out.num_conversations = 1
    for line in range(1, num + 1):
        report.skip(reason, Example(file=file, line=line, detail="why"))
    return report


def test_reports_add_up_with_three_examples_of_each_reason() -> None:
    whole = DataReport()
    for part in (report_with(2, SkipReason.NOT_JSON, "a"), report_with(4, SkipReason.NOT_JSON, "b")):
        whole.add(part)
    whole.add(report_with(1, SkipReason.EMPTY_TURN, "c"))
    assert (whole.num_read, whole.num_used, whole.num_skipped) == (13, 6, 7)
    assert (whole.train.num_rows, whole.train.num_tokens, whole.held_out.num_conversations) == (6, 30, 3)
    assert whole.skipped[SkipReason.NOT_JSON].num == 6
    assert [(e.file, e.line) for e in whole.skipped[SkipReason.NOT_JSON].examples] == [("a", 1), ("a", 2), ("b", 1)]
    assert whole.skipped[SkipReason.EMPTY_TURN].num == 1


def test_adding_changes_only_the_sum() -> None:
    part, whole = report_with(2, SkipReason.NOT_JSON, "a"), DataReport()
    before = part.model_dump()
    whole.add(part)
    whole.add(report_with(2, SkipReason.NOT_JSON, "b"))
    assert part.model_dump() == before


def test_it_is_json_and_comes_back() -> None:
    report = report_with(2, SkipReason.LONG_TURN, "a")
    document = json.loads(json.dumps(report.as_json()))
    assert (document["num_used"], document["num_skipped"]) == (2, 2)
    assert document["skipped"]["nothing to learn before a turn over its limit"]["num"] == 2
    assert DataReport.model_validate_json(report.model_dump_json()) == report


def test_a_few_lines_say_it() -> None:
    report = report_with(1, SkipReason.NOT_JSON, "talks.jsonl")
    report.num_ended_early = 5
    report.train.num_split, report.train.num_segments, report.train.num_tail_tokens = 1, 2, 1234
    assert report.lines() == [
        "3 conversations read, 2 used, 1 skipped",
        "  1 × not JSON (talks.jsonl:1: why)",
        "  5 used only up to an empty or an over-long turn",
        "training: 1 conversations, 2 rows, 10 tokens, 40% of them labelled",
        "  1 long conversations split into 2 rows; 1,234 tokens after the last label cut off",
        "held out: 1 conversations, 0 rows, 0 tokens, 0% of them labelled",
    ]
