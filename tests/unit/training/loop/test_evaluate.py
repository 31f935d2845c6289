"""The measuring stage over a loop's folder, with tiny models in it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from training.loop import evaluate as evaluate_module
from training.loop.clean import clean
from training.loop.folder import LoopFolder, Stage, open_loop
from training.loop.recipe import LoopRecipe

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


@pytest.fixture
def trained(tiny_loop: LoopRecipe, models: Path, tmp_path: Path) -> LoopFolder:
    """A loop's folder in which both sides went from model `one` to model `two`."""
    sides = {}
    for side in ("socratic", "platolm"):
        recipe = getattr(tiny_loop, side)
        model = recipe.model.model_copy(update={"path": str(models / "one")})
        sides[side] = recipe.model_copy(update={"model": model})
    loop = tiny_loop.model_copy(update=sides)
    with open_loop(tmp_path / "loop", loop) as folder:
        for stage in (Stage.CLEAN, Stage.SOCRATIC, Stage.EVALUATE, Stage.SERVE):
            folder.begin(stage, "f", f"make {stage}")
        clean(loop.data, loop.test, folder.output(Stage.CLEAN))
        folder.finish(Stage.CLEAN, 2.0, {"num_train": 3})
        for stage in (Stage.SOCRATIC, Stage.PLATOLM):
            shutil.copytree(models / "two", folder.model(stage))
    return folder


def test_the_report_of_a_loop(trained: LoopFolder, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate_module.main(trained.path) == 0
    report = json.loads((trained.output(Stage.EVALUATE) / "report.json").read_text())
    num_test = len((trained.output(Stage.CLEAN) / "test.jsonl").read_text().splitlines())
    assert [(side["side"], side["role"]) for side in report["sides"]] == [
        ("socratic", "user"),
        ("platolm", "assistant"),
    ]
    for side in report["sides"]:
        assert side["num_dialogues"] == num_test
        assert side["after"] - side["before"] == pytest.approx(side["difference"]["mean"])
    assert list(report["stages"]) == ["01-clean", "02-socratic", "05-evaluate"], "serving comes after"
    assert report["stages"]["01-clean"]["seconds"] == 2.0
    assert report["stages"]["05-evaluate"]["seconds"] > 0
    assert f"on the user turns of {num_test} dialogues" in " ".join(capsys.readouterr().err.split())


def test_a_missing_model_is_one_line(trained: LoopFolder, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(trained.model(Stage.PLATOLM))
    assert evaluate_module.main(trained.path) == 2
    assert "no such folder" in capsys.readouterr().err
    assert not (trained.output(Stage.EVALUATE) / "report.json").exists()
