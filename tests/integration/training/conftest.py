"""Invented dialogues, tiny models, and runs in processes of their own."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM

from training.bpe import BOS_ID, EOS_ID, PAD_ID, train_tokenizer
from training.checkpoints import newest_checkpoint
from training.recipes.recipe import Batch, Data, Evaluation, Memory, Model, Optimizer, Recipe, Schedule, Side
from training.run_folder import RunFolder

REPOSITORY = Path(__file__).parents[3]
CONTEXT = 128
VOCAB_SIZE = 512

WORDS = "the sea is far and tea grows green on hills while nightingales sing about bread at night"


def sentence(rng: random.Random, longest: int = 24) -> str:
    return " ".join(rng.choice(WORDS.split()) for _ in range(rng.randint(1, longest)))


@pytest.fixture(scope="session")
def dialogues(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty dialogues of one to six rounds, some longer than the context."""
    rng = random.Random(7)
    path = tmp_path_factory.mktemp("dialogues") / "dialogues.jsonl"
    with path.open("w", encoding="utf-8") as file:
        for number in range(60):
            turns = [
                {"from": ("human", "gpt")[turn % 2], "value": sentence(rng)} for turn in range(2 * rng.randint(1, 6))
            ]
            file.write(json.dumps({"id": str(number), "conversations": turns}) + "\n")
    return path


def base_model(folder: Path, *, tied: bool) -> Path:
    """A Llama with random weights and its tokenizer."""
    rng = random.Random(3)
    train_tokenizer([sentence(rng) for _ in range(50)], folder, vocab_size=VOCAB_SIZE, context=CONTEXT)
    torch.manual_seed(5)
    config = LlamaConfig(
        vocab_size=VOCAB_SIZE,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=tied,
        bos_token_id=BOS_ID,
        eos_token_id=EOS_ID,
        pad_token_id=PAD_ID,
    )
    LlamaForCausalLM(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


@pytest.fixture(scope="session")
def tied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("tied"), tied=True)


@pytest.fixture(scope="session")
def untied_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return base_model(tmp_path_factory.mktemp("untied"), tied=False)


NewRun = Callable[..., RunFolder]


@pytest.fixture(scope="module")
def new_run(tmp_path_factory: pytest.TempPathFactory, dialogues: Path, untied_base: Path) -> NewRun:
    """`new_run(name, **groups)`: a run folder with a recipe; unnamed groups are the reference's."""

    def make(name: str, **groups: Any) -> RunFolder:
        values: dict[str, Any] = {
            "name": name,
            "purpose": "a test",
            "side": Side.SOCRATIC,
            "model": Model(path=str(untied_base)),
            "data": Data(paths=(str(dialogues),), max_length=CONTEXT, held_out_share=0.1),
            "batch": Batch(size=16, layout="padded", micro_tokens=4 * CONTEXT, pad_multiple=8),
            "optimizer": Optimizer(learning_rate=1e-2, max_grad_norm=0.0),
            "schedule": Schedule(epochs=2),
            "memory": Memory(bf16=False),
            "evaluation": Evaluation(every_steps=3),
        }
        folder = RunFolder(tmp_path_factory.mktemp(name))
        folder.write_recipe(Recipe(**values | groups))
        return folder

    return make


def environment(cache: Path) -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(cache)}


def run_ranks(
    *folders: RunFolder, num_ranks: int = 1, options: tuple[str, ...] = (), timeout_s: float = 100
) -> subprocess.CompletedProcess[str]:
    """Run them one after another in one process, or in several under torchrun."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_ranks}"] if num_ranks > 1 else []
    argv = [sys.executable, *launcher, "-m", "tests.integration.training.rank"]
    argv += [*(str(folder.path) for folder in folders), *options]
    process = subprocess.Popen(
        argv,
        env=environment(folders[0].path / "cache"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=REPOSITORY,
        start_new_session=True,
    )
    try:
        output, messages = process.communicate(timeout=timeout_s)
    finally:
        if process.returncode is None:  # a hung rank outlives its launcher
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    return subprocess.CompletedProcess(argv, process.returncode, output, messages)


def finished(result: subprocess.CompletedProcess[str]) -> None:
    assert result.returncode == 0, result.stderr[-3000:]


def gradients(folder: RunFolder) -> dict[str, torch.Tensor]:
    loaded: dict[str, torch.Tensor] = torch.load(folder.path / "gradients.pt")
    return loaded


def weights(folder: RunFolder) -> dict[str, torch.Tensor]:
    return load_file(folder.model / "model.safetensors")


def losses(folder: RunFolder) -> dict[int, float]:
    """Training loss by step."""
    return {int(entry["step"]): entry["loss"] for entry in log_of(folder) if "loss" in entry}


def evaluations(folder: RunFolder) -> list[dict[str, float]]:
    """What every evaluation said, in order."""
    return [entry for entry in log_of(folder) if "eval_loss" in entry]


def log_of(folder: RunFolder) -> list[dict[str, float]]:
    """The newest checkpoint's log."""
    newest = newest_checkpoint(folder.checkpoints)
    assert newest is not None
    log: list[dict[str, float]] = json.loads((newest / "trainer_state.json").read_text(encoding="utf-8"))["log_history"]
    return log
