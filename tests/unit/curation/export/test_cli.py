"""`platolm export`: options to a folder, the account on stderr, the hub last."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

import curation.export.hub
from curation.export.cli import export
from platolm.dataset import read_manifest, segment_path
from platolm.errors import InputError
from tests.unit.curation.export.exported import run_folder


def run(*arguments: str | Path) -> Result:
    app = typer.Typer()
    app.command()(export)
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run")


@pytest.fixture
def pushed(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What would have gone to the hub."""
    calls: list[dict[str, Any]] = []

    def push(folder: Path, repository: str, *, public: bool, show_progress: bool) -> str:
        assert not show_progress
        calls.append({"files": sorted(path.name for path in folder.iterdir()), "to": repository, "public": public})
        return f"https://hub.invalid/datasets/{repository}"

    monkeypatch.setattr(curation.export.hub, "push", push)
    return calls


def test_all_options_reach_the_folder(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--format", "openai", "--min-rounds", "2", "--ending", "user_ended", "--ending", "context_full")
    more = ("--test-share", "0.4", "--seed", "3", "--title", "Talks", "--license", "mit", "--language", "en")
    result = run(source, "--out", out, *options, *more, "--no-statistics")
    assert result.exit_code == 0, result.output
    sizes = {split: (out / f"data/{split}.jsonl").stat().st_size for split in ("train", "test")}
    nums = {split: len((out / f"data/{split}.jsonl").read_text().splitlines()) for split in ("train", "test")}
    assert sum(nums.values()) == 8
    first_short = f"{segment_path(source, read_manifest(source)[0].segment)}:1"
    assert result.stderr.splitlines() == [
        f"{out}: 12 conversations read, 8 written",
        f"  train: {nums['train']} in data/train.jsonl ({sizes['train']:,} bytes)",
        f"  test: {nums['test']} in data/test.jsonl ({sizes['test']:,} bytes)",
        f"  4 × left out: too few rounds (first: {first_short})",
    ]
    card = (out / "README.md").read_text()
    assert "pretty_name: Talks\n" in card
    assert "license: mit\n" in card
    assert list(json.loads((out / "dataset_info.json").read_text())) == ["talks", "talks_test"]


def test_marked_ones_as_lines(source: Path, tmp_path: Path) -> None:
    run(source, "--out", tmp_path / "out", "--mark", "good", "--lines", "--no-statistics")
    (line,) = (tmp_path / "out/data/train.jsonl").read_text().splitlines()
    assert json.loads(line)["mark"] == "good"


def test_the_card_has_what_stats_measures(source: Path, tmp_path: Path) -> None:
    result = run(source, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    card = (tmp_path / "out/README.md").read_text()
    assert "| measure, both splits together | value | 95 % interval |" in card
    assert "| rounds a conversation | 2.00 | " in card


def test_the_hub_gets_the_finished_folder(source: Path, tmp_path: Path, pushed: list[dict[str, Any]]) -> None:
    result = run(source, "--out", tmp_path / "out", "--no-statistics", "--push-to-hub", "me/talks", "--public")
    assert pushed == [{"files": ["README.md", "data", "dataset_info.json"], "to": "me/talks", "public": True}]
    assert result.stdout == "https://hub.invalid/datasets/me/talks\n"
    assert "no licence is named" in result.stderr


def test_a_wrong_name_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, pushed: list[dict[str, Any]]
) -> None:
    assert isinstance(run(source, "--out", tmp_path / "out", "--push-to-hub", "talks").exception, InputError)
    assert not (tmp_path / "out").exists()
    assert pushed == []
