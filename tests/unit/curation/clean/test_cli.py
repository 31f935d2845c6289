"""`platolm clean` as people meet it: its table, its help, and what it says where something is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from curation.clean import pipeline
from curation.clean.cli import CLEAN_EPILOG, clean
from curation.clean.settings import USUAL_STAGES, StageName
from platolm.cli.console import EXIT_INTERRUPTED
from platolm.errors import InputError
from tests.unit.curation.clean.records import mixed, read_lines, write_json


def run(*arguments: str | Path) -> Result:
    app = typer.Typer(rich_markup_mode="markdown")
    app.command(epilog=CLEAN_EPILOG)(clean)
    return CliRunner().invoke(app, [*map(str, arguments), "--processes", "1"], env={"COLUMNS": "160"})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_json(tmp_path / "in.json", mixed(2))


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out.jsonl"


def stages_of(report: Path) -> list[str]:
    return [stage["name"] for stage in json.loads(report.read_text(encoding="utf-8"))["stages"][1:]]


def refusal(result: Result) -> str:
    assert isinstance(result.exception, InputError)
    assert "\n" not in str(result.exception)
    return str(result.exception)


def test_a_table_on_stderr_tells_each_stage(source: Path, out: Path) -> None:
    result = run(source, "--out", out, "--languages", "en")
    assert (result.exit_code, result.stdout) == (0, "")
    rows = {words[0]: words[1:] for words in map(str.split, result.stderr.splitlines()) if words}
    assert rows["stage"] == ["conversations", "out", "turns", "out", "changed", "dropped"]
    assert rows["language"] == ["12", "38", "0", "2", "another", "language"]
    assert rows["markdown"] == ["14", "42", "2"]
    assert [name for name in rows if name in set(StageName)] == [name for name in StageName if name in USUAL_STAGES]
    assert result.stderr.splitlines()[-1] == f"6 of 16 conversations are in {out}"


def test_the_report_lies_beside_unless_it_is_named(source: Path, out: Path, tmp_path: Path) -> None:
    run(source, "--out", out)
    assert (tmp_path / "out.report.json").is_file()
    run(source, "--out", out, "--report", tmp_path / "other.json")
    assert stages_of(tmp_path / "other.json") == stages_of(tmp_path / "out.report.json")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("--only markdown --only furniture", {"markdown", "furniture"}),
        ("--only exact-duplicates", {"exact_duplicates"}),
        ("--only exact_duplicates", {"exact_duplicates"}),
        ("--pii", {*USUAL_STAGES, "pii"}),
        ("--only short --pii", {"short", "pii"}),
        *((f"--no-{name.replace('_', '-')}", set(USUAL_STAGES - {name})) for name in sorted(USUAL_STAGES)),
        ("--no-near-duplicates --no-exact-duplicates", set(USUAL_STAGES) - {"near_duplicates", "exact_duplicates"}),
    ],
)
def test_stages_are_chosen(options: str, expected: set[str], source: Path, out: Path, tmp_path: Path) -> None:
    assert run(source, "--out", out, *options.split()).exit_code == 0
    assert stages_of(tmp_path / "out.report.json") == [name.value for name in StageName if name in expected]


def test_settings_reach_the_stages(source: Path, out: Path, tmp_path: Path) -> None:
    options = (
        "--languages en,DE --languages fr --min-language-score 0.7 --min-rounds 2 --similarity 0.9 --from sharegpt"
    )
    assert run(source, "--out", out, *options.split()).exit_code == 0
    settings = json.loads((tmp_path / "out.report.json").read_text(encoding="utf-8"))["settings"]
    assert settings["languages"] == ["de", "en", "fr"]
    assert (settings["min_language_score"], settings["min_rounds"], settings["similarity"]) == (0.7, 2, 0.9)
    assert {line["language"] for line in read_lines(out)} == {"en"}


def test_splitting_comes_with_its_length(source: Path, out: Path, tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    assert run(source, "--out", out, "--max-length", "700", "--tokenizer", tiny_tokenizer_folder).exit_code == 0
    assert stages_of(tmp_path / "out.report.json")[-1] == "split"
    assert any(line["id"].endswith("_1") for line in read_lines(out))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--only markdwon", "--only markdwon: there is no such stage; say roles, markdown, furniture"),
        ("--languages english", "--languages english: no such language is known; say codes such as en,de,zh"),
        ("--languages en --no-language", "--languages needs the stage language"),
        ("--max-length 2048", "splitting needs both --max-length N and --tokenizer DIR"),
        ("--tokenizer t", "splitting needs both --max-length N and --tokenizer DIR"),
        ("--only split", "splitting needs both --max-length N and --tokenizer DIR"),
        ("--from chatml", "--from chatml: there is no such form; say sharegpt, openai, wildchat, oasst"),
        ("--report out.jsonl", "cannot be both the dialogues and their report"),
        ("--max-length 99 --tokenizer nowhere/at/all", "nowhere/at/all"),
    ],
)
def test_what_cannot_be_is_one_line(
    options: str, said: str, source: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refusal(run(source, "--out", "out.jsonl", *options.split()))
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


def test_a_file_that_is_not_there_is_one_line(out: Path, tmp_path: Path) -> None:
    assert "nowhere.json" in refusal(run(tmp_path / "nowhere.json", "--out", out))


def test_ctrl_c_says_that_nothing_was_written(source: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "finish_chunk", interrupted)
    result = run(source, "--out", out)
    assert result.exit_code == EXIT_INTERRUPTED
    assert result.stderr.strip() == f"stopped: {out} was not written; the same command begins anew"
    assert [path.name for path in out.parent.iterdir()] == ["in.json"]


def test_names_from_files_are_no_markup(tmp_path: Path) -> None:
    folder = tmp_path / "[bold]x[nothing]"
    folder.mkdir()
    source = write_json(folder / "in.json", [{"conversations": [{"from": "[red]", "value": "a"}]}, {"[/b]": 1}])
    result = run(source, "--out", folder / "out.jsonl")
    assert result.exit_code == 0
    assert "[bold]x[nothing]" in result.stderr.replace("\n", "")


def test_help_names_every_stage_and_every_form(source: Path) -> None:
    said = re.sub(r"[\s│]+", " ", run("--help").stdout)
    for stage in StageName:
        assert stage.value in said
    for form in ("sharegpt", "openai", "wildchat", "oasst", ".parquet", ".zst"):
        assert form in said
