"""Full fine-tuning of a 7B on one GPU: tokens/s, MFU and memory of the recipe's choices, each against the same base.

A Llama of LLaMA-1 7B's shape from random weights, rows of up to 2,048 tokens as chats have them, fused AdamW, all of it
through the trainer that `platolm train` uses. The base is packed rows, the head on labels only, selective checkpointing
and compiled layers; every other line changes one of them. Each line is a process of its own, so that none inherits
another's memory.

    python -m benchmarks.training_gpu [--only NAME] [--weights bfloat16] [--steps 5]
    python -m benchmarks.training_gpu --smoke        a tiny shape on the CPU: only that it runs
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
import typer
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.utils.logging import disable_progress_bar

from benchmarks.steps import as_dataset
from platolm.dyadic import IGNORE_INDEX, Composed
from platolm.tokenizer import load_tokenizer
from training.data import DataReport, PreparedRows
from training.devices import Devices
from training.recipes import DEMO_BASE_FOLDER
from training.recipes.overrides import with_overrides
from training.recipes.recipe import (
    Batch,
    Data,
    Evaluation,
    Memory,
    Model,
    ModelShape,
    Optimizer,
    Recipe,
    Schedule,
    Side,
)
from training.run_folder import RunFolder
from training.train import build_trainer

VARIANTS: dict[str, tuple[str, ...]] = {
    "base": (),
    "padded rows": ("batch.layout=padded",),
    "fused head": ("memory.head=fused",),
    "full head": ("memory.head=full",),
    "no checkpointing": ("memory.checkpointing=none",),
    "full checkpointing": ("memory.checkpointing=full",),
    "not compiled": ("memory.compile=false",),
}

BASE = Recipe(
    name="training_gpu",
    purpose="benchmark",
    side=Side.PLATOLM,
    model=Model(
        path=DEMO_BASE_FOLDER,  # for its tokenizer, which the trainer wants; the ids are random
        shape=ModelShape(
            vocab_size=32_000, hidden_size=4096, intermediate_size=11_008, num_layers=32, num_heads=32, context=2048
        ),
    ),
    data=Data(max_length=2048),
    batch=Batch(size=64, layout="packed", micro_tokens=16_384),
    optimizer=Optimizer(learning_rate=1e-5),
    schedule=Schedule(epochs=1, warmup_share=0),
    memory=Memory(checkpointing="selective", compile=True),
    evaluation=Evaluation(every_steps=10**6),
)
SMOKE = (
    'model.shape={"vocab_size": 4096, "hidden_size": 32, "intermediate_size": 64, "num_layers": 2, "num_heads": 2, '
    '"context": 128}',
    "data.max_length=128",
    "batch.size=4",
    "batch.micro_tokens=256",
    "memory.compile=false",
)

Weights = Literal["float32", "bfloat16"]

_MEDIAN_TOKENS, _SPREAD, _SHORTEST = 700, 0.9, 32  # of conversations, log-normal; cut at the row's length
_TURN_TOKENS = 64
_OUT_OF_MEMORY = "out of memory"


@dataclass(frozen=True)
class Measured:
    """One variant, medians over its steps; `mfu` from 0 to 1. `failure` instead of figures where it did not run."""

    variant: str
    tokens_per_s: float = 0.0
    target_tokens_per_s: float = 0.0
    mfu: float = 0.0
    peak_gib: float | None = None
    failure: str = ""


class Log(TrainerCallback):
    """Keeps the log of each step."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if "loss" in logs:
            self.steps.append(logs)


def main(
    only: Annotated[str | None, typer.Option(metavar="NAME", help=f"One of: {', '.join(VARIANTS)}.")] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps that are measured.")] = 5,
    warm_up: Annotated[int, typer.Option(min=1, help="Steps before them: compilation, and the optimizer's state.")] = 3,
    weights: Annotated[Weights, typer.Option(help="float32 needs 141 GB, bfloat16 80 GB.")] = "float32",
    smoke: Annotated[bool, typer.Option("--smoke", help="A tiny shape on the CPU.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Measure in this process, and print JSON.")] = False,
) -> None:
    """Print a line for each variant, then the table for docs/performance.md."""
    if only is not None and only not in VARIANTS:
        raise SystemExit(f"there is no variant {only}: one of {', '.join(VARIANTS)}")
    if not smoke and not torch.cuda.is_available():
        raise SystemExit("no CUDA device here: run it on a machine with an NVIDIA GPU, or try it with --smoke")
    names = [only] if only else list(VARIANTS)
    if as_json:
        warnings.filterwarnings("ignore")
        logging.disable(logging.WARNING)
        disable_progress_bar()  # type: ignore[no-untyped-call]
        print(json.dumps([asdict(measure(name, steps, warm_up, weights, smoke=smoke)) for name in names]))
        return
    options = ["--steps", str(steps), "--warm-up", str(warm_up), "--weights", weights, *(["--smoke"] if smoke else [])]
    results = []
    for name in names:
        began_s = time.monotonic()
        results.append(measure_apart(name, options))
        print(f"{name}: {time.monotonic() - began_s:.0f} s", file=sys.stderr)
    print("\n".join(table(results, weights)))


def measure_apart(name: str, options: Sequence[str]) -> Measured:
    """One variant in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.training_gpu", "--json", "--only", name, *options]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        (fields,) = json.loads(result.stdout.splitlines()[-1])
        return Measured(**fields)
    last = (result.stderr.strip().splitlines() or [f"exit code {result.returncode}"])[-1]
    return Measured(name, failure=_OUT_OF_MEMORY if "OutOfMemoryError" in result.stderr else last)


def measure(name: str, steps: int, warm_up: int, weights: str, *, smoke: bool) -> Measured:
    """Train for `warm_up` + `steps` steps here."""
    recipe = with_overrides(BASE, [*VARIANTS[name], f"memory.weights={weights}", *(SMOKE if smoke else ())])
    log = Log()
    with tempfile.TemporaryDirectory() as folder:
        rows = random_rows(recipe, (warm_up + steps) * recipe.batch.size)
        prepared = PreparedRows(as_dataset(rows), as_dataset([]), DataReport(), Path(folder))
        tokenizer = load_tokenizer(recipe.model.path)
        trainer = build_trainer(recipe, prepared, tokenizer, RunFolder(Path(folder)), Devices(1, 0), [log])
        trainer.args.save_strategy = SaveStrategy.NO
        trainer.train()
    measured = log.steps[warm_up:]
    return Measured(
        name,
        tokens_per_s=statistics.median(step["tokens_per_s"] for step in measured),
        target_tokens_per_s=statistics.median(step["target_tokens_per_s"] for step in measured),
        mfu=statistics.median(step["mfu"] for step in measured),
        peak_gib=torch.cuda.max_memory_allocated() / 2**30 if torch.cuda.is_available() else None,
    )


def random_rows(recipe: Recipe, num_rows: int) -> list[Composed]:
    """Rows of random ids whose lengths are spread as chats' are, every second turn labelled."""
    generator = np.random.default_rng(recipe.seed)
    lengths = np.exp(generator.normal(np.log(_MEDIAN_TOKENS), _SPREAD, num_rows)).astype(int)
    assert recipe.model.shape is not None
    rows = []
    for length in lengths.clip(_SHORTEST, recipe.data.max_length):
        ids = generator.integers(4, recipe.model.shape.vocab_size, length)
        is_target = np.arange(length) // _TURN_TOKENS % 2 == 1
        if not is_target.any():
            is_target[length // 2 :] = True
        rows.append(Composed(ids.tolist(), np.where(is_target, ids, IGNORE_INDEX).tolist()))
    return rows


def table(results: Sequence[Measured], weights: str) -> list[str]:
    """As Markdown, with what it was measured on."""
    lines = [
        _machine(weights),
        "",
        "| variant | tokens/s | target tokens/s | MFU | peak memory |",
        "|---|---|---|---|---|",
    ]
    for result in results:
        if result.failure:
            lines.append(f"| {result.variant} | {result.failure} | | | |")
            continue
        memory = f"{result.peak_gib:.1f} GiB" if result.peak_gib is not None else "-"
        rates = f"{result.tokens_per_s:,.0f} | {result.target_tokens_per_s:,.0f} | {result.mfu:.1%}"
        lines.append(f"| {result.variant} | {rates} | {memory} |")
    return lines


def _machine(weights: str) -> str:
    packages = ", ".join(f"{name} {_version(name)}" for name in ("torch", "transformers", "trl", "flash-attn"))
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
    return f"{device}, CUDA {torch.version.cuda or '-'}; {packages}; weights in {weights}."


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


if __name__ == "__main__":
    typer.run(main)
