"""A checkpoint of a training run as an ordinary Hugging Face folder, sharded or not; no GPU and no process group.

python -m training.consolidate RUN_FOLDER --out FOLDER [--step N]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from peft import get_peft_model
from safetensors.torch import load_file

from platolm.cli.console import print_error
from platolm.dyadic import PROFILES
from platolm.errors import InputError, OccupiedError, PlatoLMError
from platolm.tokenizer import load_tokenizer
from training.checkpoints import is_complete, newest_checkpoint, step_of
from training.export import export, pad_id_of
from training.models import lora_config, model_to_train
from training.restoring import is_sharded_checkpoint, read_sharded_weights
from training.run_folder import RunFolder


def main(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a training run.")],
    out: Annotated[Path, typer.Option(help="The folder to write; it must not exist.")],
    step: Annotated[int | None, typer.Option(help="Of which step. Default: the newest whole checkpoint.")] = None,
) -> None:
    """Write a checkpoint's weights, in bfloat16, with tokenizer and chat template; adapters are merged."""
    try:
        consolidate(RunFolder(run_folder), out, step)
    except PlatoLMError as error:
        sys.exit(print_error(error))


def consolidate(run: RunFolder, out: Path, step: int | None = None) -> None:
    """Write `out` from the run's checkpoint of a step, else from its newest.

    Raises:
        InputError: there is no such run or checkpoint.
        OccupiedError: `out` is there already.
    """
    if out.exists():
        raise OccupiedError(f"{out} is there already: name another --out")
    recipe = run.recipe()
    checkpoint = _checkpoint(run, step)
    tokenizer = load_tokenizer(recipe.model.path)
    model: Any = model_to_train(
        recipe.model, recipe.memory, tokenizer, attention="sdpa", pad_id=pad_id_of(tokenizer), seed=recipe.seed
    )
    if recipe.model.lora is not None:
        model = get_peft_model(model, lora_config(recipe.model.lora))
    if is_sharded_checkpoint(checkpoint):
        read_sharded_weights(model, checkpoint)
    elif recipe.model.lora is not None:
        model.load_adapter(str(checkpoint), model.active_adapter)
    else:
        model.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=False)  # a tied head is not there
    if recipe.model.lora is not None:
        model = model.merge_and_unload()
    model.config._attn_implementation = None
    state = json.loads((checkpoint / "trainer_state.json").read_text(encoding="utf-8"))
    record = {"recipe": recipe.model_dump(mode="json"), "step": step_of(checkpoint), "log": state["log_history"]}
    card = (
        f"# {recipe.name}, step {step_of(checkpoint):,}\n\nA checkpoint of a run; `training.json` has its settings.\n"
    )
    export(model, out, tokenizer=tokenizer, profile=PROFILES.get(recipe.side), record=record, card=card)


def _checkpoint(run: RunFolder, step: int | None) -> Path:
    found = newest_checkpoint(run.checkpoints) if step is None else run.checkpoints / f"checkpoint-{step}"
    if found is None or not is_complete(found):
        which = "a whole checkpoint" if step is None else f"a whole checkpoint of step {step}"
        raise InputError(f"{run.checkpoints} holds no {which.removeprefix('a ')}")
    return found


if __name__ == "__main__":
    typer.run(main)
