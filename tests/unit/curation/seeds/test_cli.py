"""`platolm seeds`: options to a seed file, the account on stderr."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from curation.seeds.cli import seeds
from platolm.errors import InputError
from platolm.seeds import read_seeds
from platolm.spec import SeedMode


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(seeds)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    records = [{"id": i, "instruction": f"Ask {i}?", "category": "ab"[i % 2]} for i in range(10)]
    path = tmp_path / "in.json"
    path.write_text(json.dumps([*records, {"instruction": "ask  0?"}]))
    return path


def test_all_options_reach_the_draw(source: Path, tmp_path: Path) -> None:
    used, out = tmp_path / "used.txt", tmp_path / "seeds.jsonl"
    used.write_text("1\n3\n")
    options = ("--kind", "plain", "--sample", "4", "--seed", "7", "--stratify", "category", "--without-ids", used)
    result = run(source, "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        f"{out}: 11 records read, 4 seeds, 7 left out",
        "  4 × not drawn",
        f"  2 × used already (first: {source}:2)",
        f"  1 × asked before (first: {source}:11)",
        "  a 3, b 1",
    ]
    assert result.stdout == ""
    assert len(read_seeds(out, SeedMode.QUESTION).seeds) == 4


def test_repeats_can_be_kept(source: Path, tmp_path: Path) -> None:
    run(source, "--out", tmp_path / "seeds.jsonl", "--keep-repeats")
    assert len((tmp_path / "seeds.jsonl").read_text().splitlines()) == 11


def test_misuse(source: Path, tmp_path: Path) -> None:
    assert run(source, "--out", tmp_path / "o", "--kind", "quora").exit_code == 2
    assert run(source, "--out", tmp_path / "o", "--sample", "0").exit_code == 2
    assert isinstance(run(source, "--out", tmp_path / "o", "--stratify", "category").exception, InputError)
