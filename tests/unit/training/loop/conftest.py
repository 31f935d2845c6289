"""Invented dialogues, and a loop of tiny parts."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from tests.unit.training.conftest import tiny_model
from training.loop.recipe import DEMO_LOOP, LoopRecipe, Test

NUM_DIALOGUES = 40


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def models(tiny_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`one` and `two`: a tiny model each, with other weights."""
    folder = tmp_path_factory.mktemp("models")
    for seed, name in enumerate(("one", "two"), start=1):
        tiny_model(seed).save_pretrained(folder / name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copyfile(tiny_tokenizer_folder / file, folder / name / file)
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A file of ShareGPT records, each with an opening of its own."""
    path = tmp_path / "people.jsonl"
    lines = []
    for i in range(NUM_DIALOGUES):
        turns = [("human", f"Question {i}?"), ("gpt", f"Answer {i}."), ("human", "Why?"), ("gpt", "Because.")]
        lines.append(json.dumps({"conversations": [{"from": name, "value": text} for name, text in turns]}))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def tiny_loop(data: Path, tmp_path: Path) -> LoopRecipe:
    """The demo loop on those dialogues; its base and teacher are folders with one small file."""
    recipes = {}
    for side, recipe in (("socratic", DEMO_LOOP.socratic), ("platolm", DEMO_LOOP.platolm)):
        model = recipe.model.model_copy(update={"path": str(tmp_path / "base")})
        recipes[side] = recipe.model_copy(update={"model": model})
    for name in ("base", "teacher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text(name, encoding="utf-8")
    changes = {
        "data": (str(data),),
        "teacher": str(tmp_path / "teacher"),
        "test": Test(share=0.2, salt="another"),
        **recipes,
    }
    return DEMO_LOOP.model_copy(update=changes)
