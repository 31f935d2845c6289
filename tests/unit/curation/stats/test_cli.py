"""The command: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from curation.stats.cli import STATS_EPILOG, stats
from platolm.errors import InputError
from tests.unit.curation.stats.records import record, varied, written

app = typer.Typer(rich_markup_mode="markdown")
app.command(epilog=STATS_EPILOG)(stats)


def run(*arguments: str | Path) -> str:
    result = CliRunner().invoke(app, [*map(str, arguments), "--embeddings", "none", "--processes", "1"])
    if result.exception is not None:
        raise result.exception
    return result.stdout


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return written(tmp_path / "mine.jsonl", [varied(number) for number in range(12)])


def test_it_prints_the_papers_table_and_every_measure(data: Path) -> None:
    output = run(data)
    for word in ("SocraticChat", "mine.jsonl", "MTLD", "first-turn", "UserLM-8b", "not measured"):
        assert word in output


def test_it_writes_json_and_a_page(data: Path, tmp_path: Path) -> None:
    people = written(tmp_path / "people.jsonl", [record("1", "hi there", "x"), record("2", "and you", "y")])
    run(data, "--against", people, "--json", tmp_path / "s.json", "--html", tmp_path / "s.html")
    content = json.loads((tmp_path / "s.json").read_text())
    assert content["dataset"]["conversations"] == 12
    assert content["dataset"]["distances"][0]["other"] == "people.jsonl"
    assert [one["name"] for one in content["against"]] == ["people.jsonl"]
    assert {"name": "GPT-4o as a user", "figures": {"first_turn_diversity": 74.42}} in content["published"]
    assert (tmp_path / "s.html").read_text().startswith("<!doctype html>")


def test_several_files_are_one_dataset(data: Path, tmp_path: Path) -> None:
    other = written(tmp_path / "other.jsonl", [varied(3)])
    run(data, other, "--json", tmp_path / "s.json")
    assert json.loads((tmp_path / "s.json").read_text())["dataset"]["conversations"] == 13


def test_datasets_of_one_name_are_told_apart_by_their_folders(data: Path, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = written(tmp_path / "other" / data.name, [varied(3)])
    run(data, "--against", other, "--json", tmp_path / "s.json")
    content = json.loads((tmp_path / "s.json").read_text())
    assert [content["dataset"]["name"], content["against"][0]["name"]] == [str(data), str(other)]


def test_what_it_writes_is_the_same_again(data: Path, tmp_path: Path) -> None:
    outputs = []
    for name in ("one", "two"):
        run(data, "--json", tmp_path / f"{name}.json", "--html", tmp_path / f"{name}.html")
        outputs.append([(tmp_path / f"{name}.{form}").read_bytes() for form in ("json", "html")])
    assert outputs[0] == outputs[1]


def test_its_json_has_no_number_that_is_none(tmp_path: Path) -> None:
    lonely = written(tmp_path / "lonely.jsonl", [record("1", ""), {"id": "2", "conversations": []}])
    run(lonely, "--against", written(tmp_path / "b.jsonl", [record("1", "a", "b")]), "--json", tmp_path / "s.json")

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    content = json.loads((tmp_path / "s.json").read_text(), parse_constant=refuse)
    assert content["dataset"]["figures"]["mtld"]["estimate"] is None
    assert content["dataset"]["distances"][0]["mean_ratio"]["value"] == 0


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        run(tmp_path / "none.jsonl")


def test_help_teaches_with_examples() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "platolm stats runs/mine --against" in " ".join(result.stdout.split())
