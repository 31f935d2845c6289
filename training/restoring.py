"""Checkpoints across shardings: any number of ranks takes up what any other number saved.

FSDP2's checkpoints are `torch.distributed.checkpoint` folders, which any number of ranks from two on reads by itself.
What is here is the way between these and the ordinary files that one process, or DDP, writes.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file
from torch.distributed.checkpoint.filesystem import FileSystemReader
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.nn import Module
from torch.optim import Optimizer

from platolm.errors import TrainingError

SHARDED_WEIGHTS = "pytorch_model_fsdp_0"
_SHARDED_MOMENTS = "optimizer_0"
_WHOLE_WEIGHTS = "model.safetensors"
_WHOLE_MOMENTS = "optimizer.pt"
_FROM_FIRST = StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)


def is_sharded_checkpoint(checkpoint: Path) -> bool:
    """Whether FSDP2 wrote it."""
    return (checkpoint / SHARDED_WEIGHTS).is_dir()


def read_sharded_weights(model: Module, checkpoint: Path) -> None:
    """Fill a whole model from a sharded checkpoint; no process group is needed, every rank reads all of it."""
    if isinstance(model, PeftModel):
        weights: dict[str, Any] = get_peft_model_state_dict(model, adapter_name=model.active_adapter)
        _read(checkpoint / SHARDED_WEIGHTS, {"model": weights})
        set_peft_model_state_dict(model, weights, adapter_name=model.active_adapter)
        return
    weights = get_model_state_dict(model)
    _read(checkpoint / SHARDED_WEIGHTS, {"model": weights})
    set_model_state_dict(model, weights)


def read_sharded_moments(model: Module, optimizer: Optimizer, checkpoint: Path) -> None:
    """Fill a whole model's optimizer from a sharded checkpoint."""
    moments = {"optimizer": get_optimizer_state_dict(model, optimizer)}
    _read(checkpoint / _SHARDED_MOMENTS, moments)
    set_optimizer_state_dict(model, optimizer, moments["optimizer"])


def spread_whole_weights(model: Module, checkpoint: Path, *, is_first: bool) -> None:
    """Fill a sharded model from an ordinary checkpoint: the first rank reads, the others are sent their parts.

    Raises:
        TrainingError: it holds adapters.
    """
    if isinstance(model, PeftModel):
        raise TrainingError(
            f"{checkpoint} holds adapters that one process saved: go on with one process, or begin anew"
        )
    weights: dict[str, Any] = {}
    if is_first:
        weights = load_file(checkpoint / _WHOLE_WEIGHTS)
        tied: dict[str, str] = getattr(model, "all_tied_weights_keys", None) or {}
        weights |= {name: weights[source] for name, source in tied.items() if name not in weights}
    set_model_state_dict(model, weights, options=_FROM_FIRST)


def spread_whole_moments(model: Module, optimizer: Optimizer, checkpoint: Path, *, is_first: bool) -> None:
    """Fill a sharded model's optimizer from an ordinary checkpoint, whose parameters have numbers instead of names."""
    moments: dict[str, Any] = {}
    if is_first:
        saved = torch.load(checkpoint / _WHOLE_MOMENTS, map_location="cpu", weights_only=True)
        names = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
        moments = {
            "state": {names[number]: state for number, state in saved["state"].items()},
            "param_groups": [
                group | {"params": [names[number] for number in group["params"]]} for group in saved["param_groups"]
            ],
        }
    set_optimizer_state_dict(model, optimizer, moments, options=_FROM_FIRST)


def _read(folder: Path, into: dict[str, Any]) -> None:
    with warnings.catch_warnings():  # it tells that it does as it was asked
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        load(into, storage_reader=FileSystemReader(folder), no_dist=True)
