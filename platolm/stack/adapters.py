"""Two adapters of one base on one engine: whether vLLM takes them, and the flags that have it serve them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platolm.errors import InputError

BASE_NAME = "base"
"""The base's own name at a shared engine: nobody asks for it, and it must not be a side's."""

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
_ENGINE_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What `--max-lora-rank` takes; an adapter of another rank is padded to the next."""
_UNSUPPORTED = ("use_dora", "lora_bias", "modules_to_save", "alora_invocation_tokens", "layer_replication")
"""What vLLM 0.32 has no kernels for; each is off where its field is empty."""


@dataclass(frozen=True)
class Adapter:
    """A LoRA adapter as PEFT writes it (`adapter/` of a training run with `model.lora`)."""

    folder: Path
    rank: int
    """The largest of its matrices."""


def read_adapter(folder: str | Path) -> Adapter:
    """An adapter's folder, looked at before the minute that an engine takes to refuse it.

    Raises:
        InputError: it is none, it is incomplete, or it is of a kind that the engine does not serve.
    """
    path = Path(folder)
    config = _config(path)
    if not (path / _WEIGHTS).is_file():
        raise InputError(f"{path} holds no {_WEIGHTS}: it is not a complete adapter")
    if (kind := config.get("peft_type")) != "LORA":
        raise InputError(f"{path} is an adapter of type {kind}: a shared engine serves LORA only")
    if used := [name for name in _UNSUPPORTED if config.get(name)]:
        raise InputError(
            f"{path} was trained with {', '.join(used)}, which vLLM does not serve: merge it into its base"
        )
    return Adapter(path.resolve(), _rank(path, config))


def engine_args(adapters: Mapping[str, Adapter]) -> str:
    """vLLM's flags, as one string for a shell, that serve the base with these adapters by name.

    Raises:
        InputError: a rank is larger than the engine takes.
    """
    rank = max(adapter.rank for adapter in adapters.values())
    if rank > _ENGINE_RANKS[-1]:
        raise InputError(
            f"an adapter of rank {rank} is more than vLLM takes, {_ENGINE_RANKS[-1]}: merge it into its base"
        )
    argv = ["--served-model-name", BASE_NAME, "--enable-lora", "--max-loras", str(len(adapters))]
    argv += ["--max-lora-rank", str(next(taken for taken in _ENGINE_RANKS if taken >= rank))]
    argv += ["--lora-modules", *(f"{name}={adapter.folder}" for name, adapter in adapters.items())]
    return shlex.join(argv)


def _config(folder: Path) -> dict[str, Any]:
    path = folder / _CONFIG
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(
            f"{folder} is no adapter folder ({_CONFIG}: {error.strerror}): train one with model.lora"
        ) from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error
    if not isinstance(config, dict):
        raise InputError(f"{path} is not an adapter's configuration")
    return config


def _rank(folder: Path, config: Mapping[str, Any]) -> int:
    ranks: list[Any] = [config.get("r"), *(config.get("rank_pattern") or {}).values()]
    if not all(type(rank) is int and rank > 0 for rank in ranks):
        raise InputError(f"{folder / _CONFIG} says no usable rank (r)")
    return max(int(rank) for rank in ranks)
