"""`group.key=value` on top of a recipe, and recipes from files: what is taken, and what each mistake is told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from platolm.errors import InputError
from training.recipes import RECIPES
from training.recipes.overrides import differing_keys, recipe_of, with_overrides
from training.recipes.recipe import Lora

RECIPE = RECIPES["platolm_7b"]


def changed(*assignments: str) -> dict[str, Any]:
    """The values that differ afterwards, by key."""
    recipe = with_overrides(RECIPE, assignments)
    result = {}
    for key in differing_keys(RECIPE, recipe):
        value: Any = recipe
        for part in key.split("."):
            value = value[part] if isinstance(value, dict) else getattr(value, part)
        result[key] = value
    return result


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("optimizer.learning_rate=1e-4", {"optimizer.learning_rate": 1e-4}),
        ("optimizer.betas=[0.9, 0.95]", {"optimizer.betas": (0.9, 0.95)}),
        ("memory.compile=yes", {"memory.compile": True}),
        ("memory.bf16=false", {"memory.bf16": False}),
        ("memory.head=fused", {"memory.head": "fused"}),
        ("schedule.max_steps=10", {"schedule.max_steps": 10}),
        ("schedule.max_steps=null", {}),
        ("model.path=null", {"model.path": "null"}),
        ("model.path=a=b", {"model.path": "a=b"}),
        ('data.paths=["a", "b"]', {"data.paths": ("a", "b")}),
        ('data.turn_limits={"user": 5}', {"data.turn_limits.user": 5}),
        ("data.turn_limits.assistant=7", {"data.turn_limits.assistant": 7}),
        ("side=both", {"side": "both"}),
        ("seed=7", {"seed": 7}),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(assignment: str, expected: dict[str, Any]) -> None:
    assert changed(assignment) == expected


def test_the_last_assignment_of_a_key_counts() -> None:
    assert changed("seed=7", "batch.size=2", "seed=8") == {"seed": 8, "batch.size": 2}


def test_a_group_that_was_empty_is_filled_and_emptied() -> None:
    recipe = with_overrides(RECIPE, ["model.lora.rank=8"])
    assert recipe.model.lora == Lora(rank=8)
    assert with_overrides(RECIPE, ["model.lora={}"]).model.lora == Lora()
    assert with_overrides(recipe, ["model.lora=null"]) == RECIPE


def problems(*assignments: str) -> list[str]:
    with pytest.raises(InputError) as caught:
        with_overrides(RECIPE, assignments)
    return str(caught.value).split("; ")


def test_every_mistake_is_told_at_once() -> None:
    assert problems("batch.size=0", "learning_rate=1", "seed", "memory.head=half", "optimizer.betas=[1") == [
        "there is no learning_rate (nearest: optimizer.learning_rate, optimizer.muon_learning_rate)",
        "seed lacks a value: write seed=VALUE",
        "optimizer.betas=[1: broken JSON (Expecting ',' delimiter at character 3)",
        'batch.size: Input should be greater than or equal to 1 (given: "0")',
        "memory.head: Input should be 'compacted', 'fused' or 'full' (given: \"half\")",
    ]


@pytest.mark.parametrize(
    ("assignment", "told"),
    [
        ("memory.compil=1", "there is no memory.compil (nearest: memory.compile"),
        ("sead=1", "there is no sead (nearest: seed"),
        ("seed.deeper=1", "there is no seed.deeper"),
        ("=1", "there is no "),
        ("optimizer=5", "optimizer: Input should be a valid dictionary"),
        ("data.turn_limits.dog=7", "data.turn_limits: no such role: dog"),
        ("batch.micro_tokens=5", "batch.micro_tokens must hold at least one row of data.max_length tokens"),
        ("optimizer.weight_decay=null", "optimizer.weight_decay: Input should be a valid number"),
        ("model.shape.hidden_size=8", "model.shape.vocab_size: Field required"),
    ],
)
def test_a_mistake_is_told(assignment: str, told: str) -> None:
    assert problems(assignment)[0].startswith(told)


@given(
    size=st.integers(1, 10**9),
    learning_rate=st.floats(1e-9, 10),
    compile_layers=st.booleans(),
    path=st.text(min_size=1).filter(str.isprintable),
)
def test_what_is_written_is_what_is_read(size: int, learning_rate: float, compile_layers: bool, path: str) -> None:
    recipe = with_overrides(
        RECIPE,
        [
            f"batch.size={size}",
            f"optimizer.learning_rate={learning_rate}",
            f"memory.compile={compile_layers}",
            f"model.path={path}",
        ],
    )
    assert recipe.batch.size == size
    assert recipe.optimizer.learning_rate == learning_rate
    assert recipe.memory.compile is compile_layers
    assert recipe.model.path == path


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_a_file_of_a_recipe_gives_it_back(name: str, tmp_path: Path) -> None:
    as_json, as_yaml = tmp_path / "recipe.json", tmp_path / "recipe.yaml"
    as_json.write_text(RECIPES[name].model_dump_json(indent=2))
    as_yaml.write_text(yaml.safe_dump(RECIPES[name].model_dump(mode="json")))
    assert recipe_of(str(as_json), RECIPES) == RECIPES[name]
    assert recipe_of(str(as_yaml), RECIPES) == RECIPES[name]


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(InputError, match=r"there is no recipe demo_platon \(nearest: demo_platolm, .*--list"):
        recipe_of("demo_platon", RECIPES)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"{", "neither JSON nor YAML"),
        (b"\xff", "neither JSON nor YAML"),
        (b"[1]", "holds no recipe: Input should be a valid dictionary"),
        (b"name: x\npurpose: y\nside: z\nmodel: {path: p}\n", "holds no recipe: side: Input should be 'socratic'"),
        (b"name: x\npurpose: y\nside: both\nmodel: {path: p}\nlr: 3\n", "holds no recipe: lr: Extra inputs"),
    ],
)
def test_a_file_that_holds_no_recipe(content: bytes, told: str, tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=told) as caught:
        recipe_of(str(path), RECIPES)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read: No such file"):
        recipe_of(str(tmp_path / "recipe.json"), RECIPES)


def test_keys_that_differ() -> None:
    other = with_overrides(RECIPE, ["seed=7", "model.lora.rank=8", "data.turn_limits.user=3"])
    assert differing_keys(RECIPE, RECIPE) == []
    assert differing_keys(RECIPE, other) == [
        "seed",
        "model.lora.rank",
        "model.lora.alpha",
        "model.lora.dropout",
        "model.lora.rank_stabilised",
        "data.turn_limits.user",
    ]
