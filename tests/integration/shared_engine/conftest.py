"""A base and two adapters of it with random weights: text that is noise, and that tells adapters apart."""

from __future__ import annotations

import ctypes
import importlib.util
from pathlib import Path

import pytest

from benchmarks.sharing import Pair
from platolm.conversation import ASSISTANT, USER
from platolm.stack.adapters import read_adapter
from tests.integration.gateway.conftest import write_tiny_model


def write_random_adapter(base: Path, folder: Path, *, seed: int, rank: int) -> Path:
    """An adapter of every linear layer, far from zero: greedy text differs from the base's at once."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_pretrained(base, dtype="float32")
    config = LoraConfig(
        r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False
    )
    get_peft_model(model, config).save_pretrained(str(folder))
    return folder


@pytest.fixture(scope="package")
def need_vllm_and_peft() -> None:
    for package in ("vllm", "peft"):
        if importlib.util.find_spec(package) is None:
            pytest.skip(f"{package} is not installed")
    try:
        ctypes.CDLL("libnuma.so.1")
    except OSError:
        pytest.skip("the system library libnuma is missing")


@pytest.fixture(scope="package")
def pair(need_vllm_and_peft: None, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    write_tiny_model(folder / "base", max_length=1024)
    adapters = {
        role: read_adapter(write_random_adapter(folder / "base", folder / role, seed=seed, rank=rank))
        for role, seed, rank in ((USER, 1, 4), (ASSISTANT, 2, 8))
    }
    return Pair(str(folder / "base"), adapters)
