"""Recipes for reading: what is printed is the recipe, says what it means, and marks what was changed."""

from __future__ import annotations

import pytest
import yaml

from training.recipes import RECIPES
from training.recipes.overrides import with_overrides
from training.recipes.recipe import Recipe
from training.recipes.text import recipe_lines, recipe_yaml

RECIPE = with_overrides(RECIPES["demo_socratic"], ["evaluation.blend=false"])


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_the_text_is_the_recipe(name: str) -> None:
    recipe = RECIPES[name]
    assert Recipe.model_validate(yaml.safe_load(recipe_yaml(recipe, recipe))) == recipe


def test_values_that_yaml_could_mistake_survive() -> None:
    changes = ["name=yes", "model.path=a: b # c", 'purpose=- "x"', 'data.paths=["1e3", "null"]', "model.lora.rank=3"]
    recipe = with_overrides(RECIPE, changes)
    assert Recipe.model_validate(yaml.safe_load(recipe_yaml(recipe, RECIPE))) == recipe


def test_every_value_that_means_more_than_its_name_is_explained() -> None:
    lines = recipe_yaml(RECIPE, RECIPE).splitlines()
    at = lines.index("  pad_multiple: 128")
    assert lines[at - 1] == "  # Padded rows are as wide as the next multiple: few distinct shapes."
    assert lines[lines.index("side: socratic") - 1] == "# One of: socratic, platolm, both."
    assert lines[lines.index("batch:") - 1].startswith("# What one optimizer step sees")
    assert lines[lines.index("  weights: float32") - 2 : lines.index("  weights: float32")] == [
        "memory:",
        "  # Of the weights that the optimizer steps. One of: float32, bfloat16.",
    ]


def test_no_line_is_too_long() -> None:
    for recipe in RECIPES.values():
        assert max(map(len, recipe_yaml(recipe, recipe).splitlines())) <= 120


def test_changed_values_are_marked_and_no_others() -> None:
    changes = ["optimizer.learning_rate=1e-4", "model.lora.rank=3", "data.turn_limits.user=5", "seed=125"]
    text = recipe_yaml(with_overrides(RECIPE, changes), RECIPE)
    assert [line.strip() for line in text.splitlines() if "# changed" in line] == [
        "lora:  # changed, was: null",
        "turn_limits: {user: 5, assistant: 512}  # changed, was: {user: 160, assistant: 512}",
        "learning_rate: 0.0001  # changed, was: 0.0005",
    ]


def test_a_group_that_was_emptied_names_what_it_was() -> None:
    with_lora = with_overrides(RECIPE, ["model.lora={}"])
    text = recipe_yaml(RECIPE, with_lora)
    assert "  lora: null  # changed, was: {rank: 64, alpha: 128, dropout: 0.0, rank_stabilised: true}\n" in text


def test_a_line_for_each_recipe() -> None:
    lines = recipe_lines(RECIPES.values())
    assert [line.split()[0] for line in lines] == list(RECIPES)
    assert len({line.index(RECIPES[line.split()[0]].purpose) for line in lines}) == 1
    assert recipe_lines([]) == []
