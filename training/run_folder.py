"""What a training run leaves, and where: recipe, checkpoints, logs, model, figures."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from platolm.errors import InputError
from platolm.storage import write_atomically
from training.recipes.recipe import Recipe


class RunFolder:
    """Paths and small files of one run.

    recipe.json     the resolved recipe
    data.json       what became of the data
    checkpoints/    from which the same command goes on
    logs/           TensorBoard
    model/          the export: a Hugging Face folder, served by its path
    adapter/        with model.lora: the adapters before the merge
    loss.png        the loss over the steps
    result.json     the figures at the end; its being there means done
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.logs = path / "logs"
        self.model = path / "model"
        self.adapters = path / "adapter"
        self.loss_plot = path / "loss.png"

    @property
    def row_cache(self) -> Path:
        """Where tokenised rows are kept, for all runs of this user."""
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "platolm" / "rows"

    def exists(self) -> bool:
        """Whether a run has begun here."""
        return (self.path / "recipe.json").exists()

    def recipe(self) -> Recipe:
        """The recipe of the run.

        Raises:
            InputError: the folder holds none.
        """
        try:
            return Recipe.model_validate_json((self.path / "recipe.json").read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise InputError(f"{self.path} holds no recipe.json: start a run with `platolm train`") from error
        except ValidationError as error:
            raise InputError(f"{self.path / 'recipe.json'} is no recipe: {error.errors()[0]['msg']}") from error

    def write_recipe(self, recipe: Recipe) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomically(self.path / "recipe.json", (recipe.model_dump_json(indent=2) + "\n").encode())

    def write_data_report(self, report: Mapping[str, Any]) -> None:
        self._write("data.json", report)

    def write_result(self, result: Mapping[str, Any]) -> None:
        self._write("result.json", result)

    def result(self) -> dict[str, Any] | None:
        """The figures at the end, or None while there is none."""
        try:
            return cast("dict[str, Any]", json.loads((self.path / "result.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None

    def _write(self, name: str, content: Mapping[str, Any]) -> None:
        write_atomically(self.path / name, (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode())
