"""How much a user sounds like a person, as the commands show it."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from platolm.cli.realism import realism_line
from platolm.cli.run import print_summary
from platolm.cli.runs.tables import run_table
from platolm.cli.summary import summary_table
from platolm.runs import RealismProgress, RunProgress, RunState
from platolm.spec import RunSpec
from platolm.summary import Tally

WRONG = "repeats 0.05 is above 0.02 (limits.realism.repeats.at_most) over 1,200 conversations"
LINE = "rounds 3.3, user words 1,234.5, repeats 5.00 %, role slips 0.12 %, over 1,200 conversations"
REALISM = RealismProgress(
    conversations=1200,
    figures={"rounds": 3.3, "user_words": 1234.5, "repeats": 0.05, "role_slips": 0.00123},
    out_of_bounds={"repeats": WRONG},
)


def progress(realism: RealismProgress | None) -> RunProgress:
    return RunProgress(
        id="run-1",
        state=RunState.COMPLETED,
        spec=RunSpec(conversations=1200),
        created_at=0,
        fed=1200,
        in_flight=0,
        finished=1200,
        committed=1200,
        realism=realism,
        warnings=list(realism.out_of_bounds.values()) if realism is not None else [],
    )


def shown(renderable: RenderableType) -> str:
    """On one line, without the table's borders."""
    console = Console(file=StringIO(), width=300)
    console.print(renderable)
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def test_figures_in_a_line_with_shares_in_percent() -> None:
    assert realism_line(REALISM) == LINE
    assert realism_line(None) == ""


def test_a_run_shows_its_figures_and_what_is_out_of_bounds() -> None:
    text = shown(run_table(progress(REALISM)))
    assert LINE in text
    assert WRONG in text
    assert "realism" not in shown(run_table(progress(None)))


def test_a_summary_ends_with_its_figures(capsys: pytest.CaptureFixture[str]) -> None:
    summary = Tally().summary(progress(REALISM), [])
    assert summary.realism == REALISM
    assert LINE in shown(summary_table(summary, Path("data.jsonl")))
    assert "realism" not in shown(summary_table(Tally().summary(progress(None), []), Path("data.jsonl")))
    print_summary(summary, Path("here"), as_json=True)
    printed = capsys.readouterr()
    assert '"role_slips": 0.00123' in printed.out
    assert printed.err.splitlines() == [f"out of bounds: {WRONG}"]
