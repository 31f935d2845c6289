"""`platolm train`: what it prints, what it refuses, and what a run is started with."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from typer.testing import CliRunner, Result

from platolm.cli.app import app
from platolm.errors import InputError, OccupiedError
from tests.unit.cli.conftest import RunCommand
from tests.unit.cli.conftest import api as api
from tests.unit.cli.conftest import platolm as platolm
from tests.unit.cli.conftest import start as start
from training.cli import default_folder
from training.recipes import RECIPES
from training.recipes.recipe import Recipe
from training.run_folder import RunFolder


@dataclass
class StandIn:
    """In the place of `training.train`: notes the folders it is given, and ends as it is told."""

    code: int = 0
    folders: list[Path] = field(default_factory=list)

    def main(self, run_folder: Path) -> int:
        self.folders.append(run_folder)
        return self.code


@pytest.fixture
def rank(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> StandIn:
    """The stand-in, in an empty working folder."""
    stand_in, module = StandIn(), ModuleType("training.train")
    module.main = stand_in.main  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "training.train", module)
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.chdir(tmp_path)
    return stand_in


def train(*arguments: str | Path) -> Result:
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


@pytest.fixture
def dialogues(tmp_path: Path) -> Path:
    path = tmp_path / "dialogues.jsonl"
    path.write_text('{"conversations": []}\n')
    return path


def run_folder_of(result: Result, rank: StandIn) -> RunFolder:
    assert result.exit_code == 0, result.exception
    return RunFolder(rank.folders[-1])


def test_the_list_names_every_recipe() -> None:
    result = train("--list")
    assert result.exit_code == 0
    assert [line.split()[0] for line in result.stdout.splitlines()] == list(RECIPES)


def test_what_is_shown_is_a_recipe_file(rank: StandIn, dialogues: Path, tmp_path: Path) -> None:
    shown = train("demo_socratic", "--data", "dialogues.jsonl", "--set", "batch.size=7", "--show")
    assert shown.exit_code == 0
    recipe = Recipe.model_validate(yaml.safe_load(shown.stdout))
    assert recipe.batch.size == 7
    assert recipe.data.paths == (str(dialogues),)
    assert shown.stdout.count("# changed") == 2
    (tmp_path / "mine.yaml").write_text(shown.stdout)
    assert train("mine.yaml", "--show").stdout.count("# changed") == 0
    folder = run_folder_of(train("mine.yaml", "--out", "run"), rank)
    assert folder.recipe() == recipe


def test_nothing_is_started_by_looking(rank: StandIn, tmp_path: Path) -> None:
    train("--list")
    train("demo_socratic", "--show")
    assert rank.folders == []
    assert list(tmp_path.iterdir()) == []


def test_a_run_begins_with_the_resolved_recipe(rank: StandIn, dialogues: Path) -> None:
    result = train("platolm_7b", "--data", dialogues, "--data", ".", "--set", "optimizer.learning_rate=1e-4")
    folder = run_folder_of(result, rank)
    assert folder.path.parent == Path("runs")
    assert folder.path.name.startswith("train-platolm_7b-")
    recipe = folder.recipe()
    assert recipe.optimizer.learning_rate == 1e-4
    assert recipe.data.paths == (str(dialogues), str(dialogues.parent))
    assert recipe.memory == RECIPES["platolm_7b"].memory


def test_the_same_command_goes_on_another_does_not(rank: StandIn, dialogues: Path) -> None:
    command = ("platolm_7b", "--data", dialogues, "--out", "run")
    train(*command)
    assert "going on with run" in train(*command).stderr
    assert len(rank.folders) == 2
    refused = train(*command, "--set", "seed=1")
    assert isinstance(refused.exception, OccupiedError)
    assert "(other seed)" in str(refused.exception)
    assert isinstance(train(*command, "--fresh").exception, OccupiedError)
    assert len(rank.folders) == 2


def test_a_run_that_is_done_is_left_alone(rank: StandIn, dialogues: Path) -> None:
    command = ("platolm_7b", "--data", dialogues, "--out", "run")
    run_folder_of(train(*command), rank).write_result({"steps": 1})
    result = train(*command)
    assert (result.exit_code, len(rank.folders)) == (0, 1)
    assert "run is complete: nothing to do" in result.stderr


@pytest.mark.parametrize("code", [1, 2, 143])
def test_the_exit_code_is_the_ranks(rank: StandIn, dialogues: Path, code: int) -> None:
    rank.code = code
    assert train("platolm_7b", "--data", dialogues).exit_code == code


def test_a_stopped_run_says_how_to_go_on(rank: StandIn, dialogues: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rank.code = 143
    command = ["train", "platolm_7b", "--data", str(dialogues), "--fresh"]
    monkeypatch.setattr(sys, "argv", ["platolm", *command])
    result = CliRunner().invoke(app, command)
    folder = rank.folders[0]
    assert f"to go on: platolm train platolm_7b --data {dialogues} --out {folder}\n" in result.stderr.replace(
        "\n ", " "
    )


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "which recipe?"),
        (["platolm_8b"], "there is no recipe platolm_8b (nearest: platolm_7b"),
        (["platolm_7b"], "platolm_7b needs dialogues: --data FILE"),
        (["platolm_7b", "--data", "gone.json"], "gone.json: there is no such file or folder"),
        (["platolm_7b", "--set", "lr=1"], "there is no lr"),
        (["platolm_7b", "--data", ".", "--gpus", "many"], "--gpus takes a number or auto"),
        (["platolm_7b", "--data", ".", "--nodes", "2", "--rendezvous", "h:1"], "--nodes needs --out"),
        (["demo_socratic", "--data", ".", "--processes", "2"], "muon runs in one process"),
        (["platolm_7b", "--data", ".", "--wandb"], "pip install wandb"),
    ],
)
def test_what_is_refused_leaves_no_trace(rank: StandIn, arguments: list[str], told: str, tmp_path: Path) -> None:
    result = train(*arguments)
    assert isinstance(result.exception, InputError)
    assert told in str(result.exception)
    assert rank.folders == []
    assert list(tmp_path.iterdir()) == []


def test_a_default_folder_is_a_file_name() -> None:
    at = time.strptime("2026-03-04 05:06:07", "%Y-%m-%d %H:%M:%S")
    assert default_folder("a/../b c", at) == Path("runs/train-a-..-b-c-20260304-050607")


async def test_the_command_as_a_process(platolm: RunCommand, tmp_path: Path) -> None:
    helped = await platolm("train", "--help")
    assert helped.code == 0
    assert "platolm train" in helped.stdout.split("Examples")[1]
    refused = await platolm("train", "platolm_7b", "--data", "gone.json")
    assert (refused.code, refused.stdout) == (2, "")
    assert refused.stderr == f"error: --data {tmp_path / 'gone.json'}: there is no such file or folder\n"
