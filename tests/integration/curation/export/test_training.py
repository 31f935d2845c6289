"""`platolm train` on what is exported: each form, with a tiny model."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from curation.export.split import Split
from curation.export.writing import Wanted, export_dataset
from platolm.runs_api import DatasetFormat
from tests.integration.training.conftest import CONTEXT, REPOSITORY, base_model, environment
from tests.unit.curation.export.exported import lines_file, sharegpt
from training.recipes.recipe import Batch, Data, Memory, Model, Optimizer, Recipe, Schedule, Side

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def recipe_file(tmp_path: Path) -> Path:
    """A model of random weights, three steps on a CPU."""
    recipe = Recipe(
        name="exported",
        purpose="a test",
        side=Side.PLATOLM,
        model=Model(path=str(base_model(tmp_path / "base", tied=True))),
        data=Data(max_length=CONTEXT, held_out_share=0.0),
        batch=Batch(size=16, layout="padded", micro_tokens=4 * CONTEXT, pad_multiple=8),
        optimizer=Optimizer(learning_rate=1e-2, max_grad_norm=0.0),
        schedule=Schedule(epochs=1),
        memory=Memory(bf16=False),
    )
    path = tmp_path / "recipe.json"
    path.write_text(recipe.model_dump_json(), encoding="utf-8")
    return path


def exported(form: DatasetFormat, folder: Path) -> Path:
    """The train file of twelve dialogues of two rounds, half of them with a system message."""
    talks = [
        sharegpt(
            f"{form}-{i}",
            *([("system", "Be kind.")] if i % 2 else []),
            ("human", f"Who, asks {form} {i}?"),
            ("gpt", f"Tea {i}."),
            ("human", "Why?"),
            ("gpt", "So."),
        )
        for i in range(12)
    ]
    report = export_dataset([lines_file(folder / f"{form}.jsonl", *talks)], folder / form, Wanted(form=form))
    return folder / form / report.splits[Split.TRAIN].file_name


def test_every_form_is_trained_on_as_it_is(tmp_path: Path) -> None:
    """Each of the 36 dialogues of the three forms gives its row, and the model is there at the end."""
    data = [argument for form in DatasetFormat for argument in ("--data", str(exported(form, tmp_path)))]
    command = ["train", str(recipe_file(tmp_path)), *data, "--out", str(tmp_path / "run"), "--processes", "1"]
    result = subprocess.run(
        [sys.executable, "-m", "platolm", *command],
        env=environment(tmp_path / "cache"),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=150,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    read = json.loads((tmp_path / "run" / "data.json").read_text(encoding="utf-8"))
    assert (read["num_read"], read["num_used"], read["skipped"]) == (36, 36, {})
    assert (read["train"]["num_rows"], read["train"]["num_cut_turns"]) == (36, 0)
    figures = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    assert (figures["rows"], figures["steps"]) == (36, 3)
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
