"""The report says every figure, bad news too, and its JSON file comes last."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from training.bootstrap import Interval
from training.loop import report as report_module
from training.loop.folder import Stage, StageRecord
from training.loop.measure import SideLoss
from training.loop.report import LoopReport, write_report

REPORT = LoopReport(
    "demo",
    [
        SideLoss("socratic", "user", "base", 295, 20_000, 3.9, 3.8, Interval(-0.1, -0.12, -0.08)),
        SideLoss("platolm", "assistant", "base", 290, 30_000, 4.0, 4.05, Interval(0.05, 0.04, 0.06)),
    ],
    {
        Stage.CLEAN: StageRecord(fingerprint="f", command="clean it", seconds=2.0, figures={"num_train": 5605}),
        Stage.SOCRATIC: StageRecord(fingerprint="f", command="train it", seconds=300.04, figures={"steps": 120}),
    },
)


def test_the_page_has_losses_stages_and_figures() -> None:
    page = REPORT.as_page()
    rows = [
        "| socratic | user | 295 | 20,000 | 3.9000 | 3.8000 | -0.1000 [-0.1200, -0.0800] | better than before |",
        "| platolm | assistant | 290 | 30,000 | 4.0000 | 4.0500 | +0.0500 [+0.0400, +0.0600] | worse than before |",
        "| 02-socratic | 5:00 | `train it` |",
        "| all | 5:02 | |",
        "| 01-clean | num_train | 5605 |",
        "| 02-socratic | steps | 120 |",
    ]
    assert [row for row in rows if row in page.splitlines()] == rows


def test_the_files(tmp_path: Path) -> None:
    write_report(REPORT, tmp_path / "out")
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [side["difference"]["mean"] for side in written["sides"]] == [-0.1, 0.05]
    assert written["stages"]["02-socratic"] == {"command": "train it", "seconds": 300.0, "figures": {"steps": 120}}
    assert (tmp_path / "out" / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert "![losses](losses.png)" in (tmp_path / "out" / "report.md").read_text()


def test_without_the_rest_there_is_no_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(report_module, "write_plot", fail)
    with pytest.raises(KeyboardInterrupt):
        write_report(REPORT, tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []
