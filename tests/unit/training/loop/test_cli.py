"""`platolm loop`: what it parses, prints and returns; the stages themselves are elsewhere."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from platolm.errors import InputError, TrainingError
from training.loop import cli
from training.loop import run as run_module
from training.loop.folder import LoopFolder
from training.loop.recipe import DEMO_LOOP, LoopRecipe
from training.recipes.overrides import with_overrides

app = typer.Typer(rich_markup_mode="markdown")
cli.register(app)

SIDE = {
    "side": "socratic",
    "role": "user",
    "num_dialogues": 295,
    "before": 3.9,
    "after": 3.8,
    "difference": {"mean": -0.1, "low": -0.12, "high": -0.08},
}


class FakeLoop:
    """Finishes, fails or is stopped at once; `made` are the loops that it was given."""

    made: list[LoopRecipe]
    ending: BaseException | None = None

    def __init__(self, loop: LoopRecipe, folder: LoopFolder, _console: object) -> None:
        type(self).made.append(loop)
        self.finished = False

    async def run(self, *, keep: bool, then: Any) -> None:
        if self.ending is not None:
            raise self.ending
        self.finished = True
        then()

    def report(self) -> dict[str, Any]:
        return {"sides": [SIDE]}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> type[FakeLoop]:
    class Fake(FakeLoop):
        made: list[LoopRecipe] = []  # noqa: RUF012

    monkeypatch.setattr(run_module, "Loop", Fake)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "160")
    (tmp_path / "people.jsonl").touch()
    return Fake


def test_help_teaches_and_the_loops_are_listed() -> None:
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert "platolm loop demo --data" in result.output
    assert CliRunner().invoke(app, ["--list"]).stdout == f"demo  {DEMO_LOOP.purpose}\n"


def test_what_is_shown_can_be_given_again(tmp_path: Path) -> None:
    arguments = ["demo", "--data", "people.jsonl", "--set", "synthesis.conversations=3", "--show"]
    shown = CliRunner().invoke(app, arguments).stdout
    assert json.loads(shown)["data"] == [str(Path("people.jsonl").absolute())]
    (tmp_path / "mine.json").write_text(shown)
    assert CliRunner().invoke(app, [str(tmp_path / "mine.json"), "--show"]).stdout == shown


def test_a_finished_loop_shows_its_losses(fake: type[FakeLoop], tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--data", "people.jsonl", "--out", "out"])
    assert result.exit_code == 0, result.output
    assert fake.made == [with_overrides(DEMO_LOOP, [f'data=["{tmp_path}/people.jsonl"]'])]
    for words in ("295", "3.9000", "3.8000", "-0.1000 [-0.1200, -0.0800]", "more in out/05-evaluate/report.md"):
        assert words in result.stdout
    assert (tmp_path / "out" / "loop.json").is_file()


def test_a_folder_is_found_where_none_is_named(fake: type[FakeLoop], tmp_path: Path) -> None:
    assert CliRunner().invoke(app, ["demo", "--data", "people.jsonl"]).exit_code == 0
    [folder] = (tmp_path / "runs").iterdir()
    assert folder.name.startswith("loop-2")


def test_a_failed_loop_says_how_to_go_on(fake: type[FakeLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["platolm", "loop", "demo", "--data", "people.jsonl"])
    fake.ending = TrainingError("02-socratic ended with code 1")
    result = CliRunner().invoke(app, ["demo", "--data", "people.jsonl", "--out", "out"])
    assert isinstance(result.exception, TrainingError)
    assert "to go on: platolm loop demo --data people.jsonl --out out" in result.stderr


def test_a_stopped_loop_does_too(fake: type[FakeLoop], monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait_for_ctrl_c(self: FakeLoop, **_: Any) -> None:
        import os
        import signal

        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.Event().wait()

    monkeypatch.setattr(fake, "run", wait_for_ctrl_c)
    result = CliRunner().invoke(app, ["demo", "--data", "people.jsonl", "--out", "out"])
    assert result.exit_code == 130
    assert "stopped; to go on: " in result.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "which loop"),
        (["demo"], "needs people's dialogues"),
        (["dmo", "--data", "people.jsonl"], "there is no loop dmo"),
        (["demo", "--data", "people.jsonl", "--set", "x=1"], "there is no x"),
    ],
)
def test_misuse(fake: type[FakeLoop], arguments: list[str], problem: str) -> None:
    result = CliRunner().invoke(app, arguments)
    assert isinstance(result.exception, InputError)
    assert problem in str(result.exception)
    assert fake.made == []
