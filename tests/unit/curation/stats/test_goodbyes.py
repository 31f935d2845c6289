"""Goodbyes of continued conversations against what people did, and the thresholds that would have been better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from curation.dialogue import Dialogue
from curation.stats.goodbyes import THRESHOLDS, Decision, GoodbyeCounts, best_row, decision_of, goodbyes_tried
from curation.stats.measuring import StatsSettings, statistics_of
from curation.stats.sampled import Raters
from curation.stats.table import notes_of, threshold_table
from platolm.conversation import ASSISTANT, USER, Message

GIVEN = {"finish_reason": "seed"}


def record(
    said: str, *, ended: bool, probability: float | None = None, goodbye: str | None = None, given: int = 2
) -> dict[str, Any]:
    """A conversation that was continued after `given` turns; `said` is what the user said then, "" where it left."""
    generated = [("human", said), ("gpt", "An answer.")] if said else []
    turns = [("human" if i % 2 == 0 else "gpt", f"word{i}") for i in range(given)] + generated
    how = [GIVEN] * given + [{"finish_reason": "stop", "goodbye_probability": probability}, {"finish_reason": "stop"}]
    return {
        "id": f"{said}-{ended}-{probability}-{goodbye}",
        "conversations": [{"from": who, "value": text} for who, text in turns],
        "seed_mode": "continue",
        "seed_ended": ended,
        "goodbye_at": None if goodbye is None else given,
        "goodbye_end": goodbye,
        "turns": how[: len(turns)],
    }


@pytest.mark.parametrize(
    ("fields", "decision"),
    [
        (record("More?", ended=False, probability=0.25), Decision(False, False, False, 0.25)),
        (record("More?", ended=True), Decision(False, True, False, None)),
        (record("", ended=True, goodbye="marker"), Decision(True, True, True, None)),
        (record("", ended=False, goodbye="blank"), Decision(True, False, True, None)),
        (record("Bye", ended=True, goodbye="likely", probability=0.5), Decision(True, True, False, 0.5)),
        (record("More?", ended=True, probability=0), Decision(False, True, False, 0)),
    ],
)
def test_what_a_record_shows(fields: dict[str, Any], decision: Decision) -> None:
    assert decision_of(fields) == decision


@pytest.mark.parametrize(
    "changed",
    [
        {"seed_ended": None},
        {"turns": None},
        {"turns": ["?"]},
        {"turns": [GIVEN, GIVEN]},  # the context was full, or it was cut: nobody knows
        {"turns": [GIVEN, {"finish_reason": "stop"}]},  # the assistant spoke next
        {"turns": [{"finish_reason": "stop"}] * 2},
    ],
)
def test_where_nobody_knows(changed: dict[str, Any]) -> None:
    assert decision_of({**record("More?", ended=True), **changed}) is None


def test_each_threshold_by_hand() -> None:
    """Two left, one by its own word and one at 0.3; of the two who went on one was at 0.3 too, one at 0.04."""
    counts, other = GoodbyeCounts(), GoodbyeCounts()
    for decision in (Decision(True, True, True, None), Decision(False, True, False, 0.3)):
        counts.add(decision)
    for decision in (Decision(False, False, False, 0.3), Decision(False, False, False, 0.04)):
        other.add(decision)
    other.add(Decision(True, True, False, None))
    counts.merge(other)
    assert counts.unknown == 1
    rows = {row.threshold: row for row in counts.rows()}
    assert list(rows) == [None, *reversed(THRESHOLDS)]
    found = {t: (rows[t].predicted, rows[t].hit, rows[t].actual) for t in (None, 0.35, 0.3, 0.05, 0.02, 0.001)}
    assert found == {
        None: (1, 1, 2),
        0.35: (1, 1, 2),
        0.3: (3, 2, 2),
        0.05: (3, 2, 2),
        0.02: (4, 2, 2),
        0.001: (4, 2, 2),
    }
    assert (rows[0.3].precision, rows[0.3].recall, rows[0.3].f1) == (2 / 3, 1.0, 0.8)
    assert best_row(counts.rows()) == rows[0.3]


@pytest.mark.parametrize(
    "decisions",
    [
        [],
        [Decision(True, True, True, None), Decision(True, False, True, None)],
        [Decision(False, True, False, 0.5), Decision(False, True, False, 0.1)],
        [Decision(False, False, False, 0.5)],
    ],
)
def test_where_no_threshold_can_be_told(decisions: list[Decision]) -> None:
    counts = GoodbyeCounts()
    for decision in decisions:
        counts.add(decision)
    assert counts.rows() == []


def dialogue(*user_turns: tuple[str, str | None], goodbye_at: int | None) -> Dialogue:
    messages, turns = [], []
    for text, end in user_turns:
        messages += [Message(USER, text), Message(ASSISTANT, "Yes.")]
        turns += [{"end": end}, {"end": None}]
    return Dialogue("d", tuple(messages), fields={"goodbye_at": goodbye_at, "turns": turns})


@pytest.mark.parametrize(
    ("user_turns", "goodbye_at", "tried"),
    [
        ([("Q", None), ("Thanks, bye!", "marker"), ("Oh, and how long does it take?", None)], 2, (1, 1)),
        ([("Q", None), ("Thanks, bye!", "marker"), ("Bye!", None), ("So?", "marker"), (" ", None)], 2, (1, 0)),
        ([("Q", None), ("Thanks, bye!", "marker")], 2, (0, 0)),
        ([("Q", None), ("R", None)], None, (0, 0)),
    ],
)
def test_what_came_after_a_goodbye(
    user_turns: list[tuple[str, str | None]], goodbye_at: int | None, tried: tuple[int, int]
) -> None:
    assert goodbyes_tried(dialogue(*user_turns, goodbye_at=goodbye_at)) == tried


def test_a_dataset_of_continued_conversations(tmp_path: Path) -> None:
    records = [
        record("", ended=True, goodbye="marker"),
        record("", ended=False, goodbye="marker"),
        record("More?", ended=True, probability=0.4),
        record("And more?", ended=False, probability=0.01),
        record("word0", ended=False),
    ]
    path = tmp_path / "continued.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in records))
    found = statistics_of([path], StatsSettings(processes=1, raters=Raters()))
    figures = found.figures
    assert [figures[f"end_{name}"].value for name in ("precision", "recall", "f1")] == [50.0, 50.0, 50.0]
    assert figures["premature_goodbyes"].lacking is not None
    assert found.goodbyes_unknown == 1
    assert best_row(found.goodbye_thresholds).threshold == 0.4
    # Given turns are nobody's: three user turns were made, one of which says the given one again.
    assert (found.realism.user_turns, found.realism.assistant_turns, found.realism.repeats) == (3, 3, 1)
    assert found.realism.rounds == 8
    table = threshold_table(found)
    assert table is not None
    console = Console(width=100)
    with console.capture() as shown:
        console.print(table)
    lines = [line.split() for line in shown.get().splitlines()]
    assert ["none", "2", "1", "50.00", "50.00", "50.00"] in lines
    assert ["0.4", "3", "2", "66.67", "100.00", "80.00"] in lines
    assert ["0.01", "4", "2", "50.00", "100.00", "66.67"] in lines
    assert len([line for line in lines if line and line[0].replace(".", "").isdigit()]) == 2
    assert "best F1: 0.4; none: what the simulator said itself" in shown.get()
    assert "1 goodbyes or turns without a probability, not in its table" in notes_of(found)


def test_without_goodbyes_there_is_no_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(record("More?", ended=True)) + "\n")
    assert threshold_table(statistics_of([path], StatsSettings(processes=1))) is None
