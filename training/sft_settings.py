"""A recipe as TRL's and accelerate's configuration."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from transformers.trainer_utils import IntervalStrategy, SaveStrategy
from trl.trainer.sft_config import SFTConfig

from training.devices import Devices
from training.recipes.recipe import Recipe
from training.steps import Layout


def sft_config(
    recipe: Recipe,
    output: Path,
    *,
    num_steps: int,
    devices: Devices,
    layer_classes: list[str],
    evaluates: bool,
) -> SFTConfig:
    """Everything that the trainer itself decides by; the batches, the loss and the optimizer are ours."""
    every = recipe.evaluation.every_steps
    on_gpu = torch.cuda.is_available()
    return SFTConfig(
        output_dir=str(output),
        max_steps=num_steps,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=1,
        learning_rate=recipe.optimizer.learning_rate,
        max_grad_norm=recipe.optimizer.max_grad_norm,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": recipe.schedule.min_lr_share},
        warmup_steps=math.ceil(num_steps * recipe.schedule.warmup_share),
        bf16=recipe.memory.bf16 and recipe.memory.weights == "float32",
        tf32=on_gpu or None,
        use_cpu=not on_gpu,
        ddp_backend="gloo" if devices.number > 1 and not on_gpu else None,
        ddp_timeout=devices.peer_timeout_s,
        max_length=None,
        packing=False,
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        average_tokens_across_devices=False,  # the plan knows the labels of all devices
        logging_steps=recipe.evaluation.log_every_steps,
        logging_first_step=True,
        logging_nan_inf_filter=False,
        eval_strategy=IntervalStrategy.STEPS if evaluates else IntervalStrategy.NO,
        eval_steps=every,
        eval_on_start=evaluates,
        save_strategy=SaveStrategy.STEPS,
        save_steps=every,
        save_total_limit=None,  # ours go only when the next one is whole
        load_best_model_at_end=evaluates,
        metric_for_best_model="eval_loss",
        greater_is_better=False,
        disable_tqdm=True,
        report_to=["wandb"] if recipe.evaluation.wandb else "none",
        seed=recipe.seed,
        **_checkpointing(recipe),
        **_sharding(recipe, devices.number, layer_classes),
    )


def layout_of(recipe: Recipe) -> Layout:
    """Packed on a GPU and padded on a CPU, unless the recipe says."""
    if recipe.batch.layout == "auto":
        return Layout.PACKED if torch.cuda.is_available() else Layout.PADDED
    return Layout(recipe.batch.layout)


def is_sharded(recipe: Recipe, num_devices: int) -> bool:
    """Whether FSDP2 spreads the weights."""
    return num_devices > 1 and recipe.memory.sharding != "ddp"


def _checkpointing(recipe: Recipe) -> dict[str, Any]:
    kind = recipe.memory.checkpointing
    if kind == "none":
        return {"gradient_checkpointing": False}
    selective = {"selective": True} if kind == "selective" else {}
    return {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": False, **selective}}


def _sharding(recipe: Recipe, num_devices: int, layer_classes: list[str]) -> dict[str, Any]:
    """FSDP2 with one unit for each decoder layer; embeddings, last norm and head stay together in the root unit.

    A head in a unit of its own gets a silently wrong gradient where the loss reads its weights outside its forward.
    """
    if not is_sharded(recipe, num_devices):
        return {}
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "transformer_layer_cls_to_wrap": layer_classes,
            "state_dict_type": "SHARDED_STATE_DICT",
            "reshard_after_forward": True,
        },
    }
