from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from platolm.stack.adapters import engine_args, read_adapter
from training.demo_adapters import publish
from training.recipes import DEMO_BASE_FOLDER, RECIPES
from training.recipes.recipe import Side
from training.run_folder import RunFolder

RESULT = {"steps": 3, "tokens": 2000, "labels": 700, "seconds": 60.0, "held_out_loss": 3.5, "share_of_the_way": 0.4}
RECORD = {"recipe": {"model": {"lora": {"rank": 4, "alpha": 8}}}, "result": RESULT}
WEIGHTS = {"layers.0.q_proj.lora_A.weight": torch.full((4, 8), 0.1), "layers.0.q_proj.lora_B.weight": torch.ones(8, 4)}


def finished_run(path: Path) -> RunFolder:
    """As much of a run's folder as is published."""
    run = RunFolder(path)
    run.adapters.mkdir(parents=True)
    config = {"peft_type": "LORA", "r": 4, "target_modules": ["up_proj", "k_proj"], "base_model_name_or_path": ""}
    (run.adapters / "adapter_config.json").write_text(json.dumps(config))
    (run.adapters / "README.md").write_text("of PEFT's")
    save_file(WEIGHTS, run.adapters / "adapter_model.safetensors")
    run.model.mkdir()
    (run.model / "training.json").write_text(json.dumps(RECORD))
    return run


def columns(base: float = 3.9) -> list[dict[str, Any]]:
    """What was measured, user turns first."""
    ahead = {"base": {"mean": -0.02, "low": -0.03, "high": -0.01}}
    return [
        {"role": role, "owner": owner, "nats_per_token": {"base": base, owner: nats}, "ahead": ahead}
        for role, owner, nats in (("user", "socratic", 3.88), ("assistant", "platolm", 3.87))
    ]


@pytest.fixture
def published(tmp_path: Path) -> Path:
    out = tmp_path / "adapters"
    runs = {name: finished_run(tmp_path / "work" / name) for name in ("socratic", "platolm")}
    publish(runs, "models/demo/base", out, columns())
    return out


def test_an_engine_takes_what_is_published(published: Path) -> None:
    adapters = {name: read_adapter(published / name) for name in ("socratic", "platolm")}
    assert "--max-lora-rank 8" in engine_args(adapters)


def test_weights_are_rounded_to_bf16(published: Path) -> None:
    weights = load_file(published / "socratic" / "adapter_model.safetensors")
    assert {name: tensor.dtype for name, tensor in weights.items()} == dict.fromkeys(WEIGHTS, torch.bfloat16)
    for name, tensor in WEIGHTS.items():
        assert torch.equal(weights[name], tensor.to(torch.bfloat16))


def test_the_configuration_says_the_base_and_is_the_same_each_time(published: Path) -> None:
    config = json.loads((published / "platolm" / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "models/demo/base"
    assert config["target_modules"] == ["k_proj", "up_proj"]


def test_each_adapter_lies_with_the_record_of_its_run_and_nothing_else(published: Path) -> None:
    names = ["adapter_config.json", "adapter_model.safetensors", "training.json"]
    folders = {path.name: sorted(file.name for file in path.iterdir()) for path in published.iterdir() if path.is_dir()}
    assert folders == {"socratic": names, "platolm": names}
    assert all(path.stat().st_mode & 0o777 == 0o644 for path in published.rglob("adapter_model.safetensors"))


def test_earlier_adapters_are_replaced(published: Path, tmp_path: Path) -> None:
    publish({"socratic": finished_run(tmp_path / "again")}, "other", published, columns())
    assert sorted(path.name for path in published.iterdir()) == ["README.md", "evaluation.json", "socratic"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapters", "again", "work"]


def test_the_card_has_what_was_measured(published: Path) -> None:
    assert json.loads((published / "evaluation.json").read_text()) == {"columns": columns()}
    card = (published / "README.md").read_text()
    assert "Rank 4 on every linear layer but the head, scaled by 8/√4" in card
    assert "validation likes best: socratic 40%, platolm 40%." in card
    assert "| platolm | 3 | 2,000 | 700 | 1 | 3.500 |" in card
    assert "| user | 3.900 | 3.880 | -0.0200 [-0.0300, -0.0100] | not measured on these |" in card


@pytest.mark.parametrize(("base", "said"), [(3.9001, "3.880"), (3.902, "not measured on these")])
def test_full_models_count_where_they_read_the_same_dialogues(tmp_path: Path, base: float, said: str) -> None:
    (tmp_path / "evaluation.json").write_text(json.dumps({"columns": columns(base)}))
    publish({"socratic": finished_run(tmp_path / "run")}, str(tmp_path / "base"), tmp_path / "adapters", columns())
    line = next(line for line in (tmp_path / "adapters/README.md").read_text().splitlines() if "| user |" in line)
    assert line.endswith(f" | {said} |")


def test_the_recipes_train_adapters_of_the_demo_base() -> None:
    recipes = [RECIPES[f"demo_{side}_lora"] for side in ("socratic", "platolm")]
    assert [recipe.side for recipe in recipes] == [Side.SOCRATIC, Side.PLATOLM]
    for recipe in recipes:
        full = RECIPES[recipe.name.removesuffix("_lora")]
        assert (recipe.model.path, recipe.data) == (DEMO_BASE_FOLDER, full.data)
        assert recipe.model.lora is not None
        assert recipe.evaluation.blend
        assert recipe.optimizer.name == "adamw", "an adapter's factors are no matrices of the network"
