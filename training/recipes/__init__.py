"""Named recipes: `platolm train NAME` takes one of these."""

from __future__ import annotations

from training.recipes.demo import (
    DEMO_BASE,
    DEMO_BASE_FOLDER,
    DEMO_PLATOLM,
    DEMO_PLATOLM_LORA,
    DEMO_SHAPE,
    DEMO_SOCRATIC,
    DEMO_SOCRATIC_LORA,
)
from training.recipes.recipe import Recipe
from training.recipes.seven_b import (
    PLATOLM_7B,
    PLATOLM_7B_LORA,
    PLATOLM_7B_SINGLE_GPU,
    SOCRATIC_7B,
    SOCRATIC_7B_LORA,
    SOCRATIC_7B_SINGLE_GPU,
)

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        SOCRATIC_7B,
        PLATOLM_7B,
        SOCRATIC_7B_SINGLE_GPU,
        PLATOLM_7B_SINGLE_GPU,
        SOCRATIC_7B_LORA,
        PLATOLM_7B_LORA,
        DEMO_BASE,
        DEMO_SOCRATIC,
        DEMO_PLATOLM,
        DEMO_SOCRATIC_LORA,
        DEMO_PLATOLM_LORA,
    )
}

__all__ = [
    "DEMO_BASE",
    "DEMO_BASE_FOLDER",
    "DEMO_PLATOLM",
    "DEMO_PLATOLM_LORA",
    "DEMO_SHAPE",
    "DEMO_SOCRATIC",
    "DEMO_SOCRATIC_LORA",
    "RECIPES",
]
