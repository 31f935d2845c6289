"""What a training step costs: our cut of it against the usual one, on the same trainer, model and conversations.

The usual way: rows with their unlabelled tails, four at a time in the order they come, each batch padded to its
longest, the head over every position. Ours: no tails, rows of like length together (packs on a GPU), the head over the
labels. Both see the same conversations in every step, so in float32 their losses agree.

    python -m benchmarks.steps --data FILE [--side socratic] [--conversations 64] [--steps 2] [--pairs 3]
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from datasets import Dataset  # type: ignore[import-untyped]
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_utils import SaveStrategy
from transformers.utils.logging import disable_progress_bar

from platolm.conversation import from_record
from platolm.dyadic import IGNORE_INDEX, PROFILES, Composed, compose, cut_after_last_label
from platolm.jsonlines import read_json_records
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.data import DataReport, PreparedRows
from training.devices import Devices
from training.recipes import DEMO_BASE_FOLDER
from training.recipes.recipe import Batch, Data, Evaluation, Memory, Model, Optimizer, Recipe, Schedule, Side
from training.run_folder import RunFolder
from training.steps import MicroBatch
from training.train import build_trainer

DEVICE_BATCH = 4
LOSS_TOLERANCE = 1e-5


class UsualCut:
    """Four rows at a time, as they come."""

    def __call__(self, rows: Sequence[int], lengths: Sequence[int]) -> list[MicroBatch]:
        return [list(rows[start : start + DEVICE_BATCH]) for start in range(0, len(rows), DEVICE_BATCH)]


class Log(TrainerCallback):
    """Keeps losses and target tokens a second, step by step."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.rates: list[float] = []

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any
    ) -> None:
        if "loss" in logs:
            self.losses.append(logs["loss"])
            self.rates.append(logs["target_tokens_per_s"])


def main(
    data: Annotated[list[Path], typer.Option(help="ShareGPT or OpenAI records; give it again for more files.")],
    side: Annotated[Side, typer.Option(help="Whose turns are learned.")] = Side.SOCRATIC,
    model: Annotated[str, typer.Option(help="Folder or hub name.")] = DEMO_BASE_FOLDER,
    max_length: Annotated[int, typer.Option(min=16, help="Tokens of a row.")] = 1024,
    conversations: Annotated[int, typer.Option(min=1, help="Of a step.")] = 64,
    steps: Annotated[int, typer.Option(min=2, help="Of a run; the first is not counted.")] = 3,
    pairs: Annotated[int, typer.Option(min=1, help="Runs of each way, in turn.")] = 3,
    rows_a_pass: Annotated[
        int, typer.Option(min=1, help="Longest rows of a forward pass: few on a CPU, whose caches are small.")
    ] = 16 if torch.cuda.is_available() else 2,
    bf16: Annotated[bool, typer.Option("--bf16/--float32", help="Compute in bf16, or in float32.")] = True,
) -> None:
    """Print target tokens/s of both, their ratio, and how far the losses are apart."""
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer = load_tokenizer(model)
    rows = read_rows(data, side, tokenizer, max_length)
    ours = Recipe(
        name="steps",
        purpose="benchmark",
        side=side,
        model=Model(path=model),
        data=Data(max_length=max_length),
        batch=Batch(size=conversations, micro_tokens=rows_a_pass * max_length),
        optimizer=Optimizer(learning_rate=1e-5),
        schedule=Schedule(max_steps=steps),
        memory=Memory(bf16=bf16),
        evaluation=Evaluation(every_steps=10**6),
    )
    cut_rows = [cut_after_last_label(row) for row in rows]
    logs: dict[str, list[Log]] = {"usual": [], "ours": []}
    with tempfile.TemporaryDirectory() as name:
        for number in range(pairs):
            folder = Path(name) / str(number)
            logs["usual"].append(run(usual(ours), rows, RunFolder(folder / "usual"), tokenizer, UsualCut()))
            logs["ours"].append(run(ours, cut_rows, RunFolder(folder / "ours"), tokenizer))
    report(logs, rows)


def read_rows(paths: Sequence[Path], side: Side, tokenizer: HubTokenizer, max_length: int) -> list[Composed]:
    """Rows with their unlabelled tails."""
    rows = []
    for path in paths:
        for _, record in read_json_records(path):
            row = compose(from_record(record).messages, PROFILES[side], tokenizer, max_length=max_length)
            rows += [row] if row.has_loss else []
    return rows


def usual(recipe: Recipe) -> Recipe:
    """The same step the usual way."""
    batch = recipe.batch.model_copy(update={"layout": "padded", "pad_multiple": 1})
    return recipe.model_copy(update={"batch": batch, "memory": recipe.memory.model_copy(update={"head": "full"})})


def run(
    recipe: Recipe, rows: Sequence[Composed], folder: RunFolder, tokenizer: HubTokenizer, cut: UsualCut | None = None
) -> Log:
    """Train for the recipe's steps."""
    log = Log()
    prepared = PreparedRows(as_dataset(rows), as_dataset([]), DataReport(), folder.path)
    trainer = build_trainer(recipe, prepared, tokenizer, folder, Devices(1, 0), [log])
    if cut is not None:
        trainer.steps.cut = cut
    trainer.args.save_strategy = SaveStrategy.NO
    trainer.train()
    return log


def as_dataset(rows: Sequence[Composed]) -> Dataset:
    """The columns that the trainer reads."""
    return Dataset.from_dict(
        {
            "input_ids": [row.input_ids for row in rows],
            "labels": [row.labels for row in rows],
            "length": [len(row.input_ids) for row in rows],
            "num_labels": [sum(label != IGNORE_INDEX for label in row.labels) for row in rows],
            "first_turn": [0] * len(rows),
        }
    )


def report(logs: dict[str, list[Log]], rows: Sequence[Composed]) -> None:
    """Print the medians, and how far apart the losses of the first step are."""
    usual, ours = (statistics.median(rate for log in logs[way] for rate in log.rates[1:]) for way in ("usual", "ours"))
    apart = max(
        abs(a - b) / a
        for one, other in zip(logs["usual"], logs["ours"], strict=True)
        for a, b in zip(one.losses[:1], other.losses[:1], strict=True)
    )
    kept = sum(len(cut_after_last_label(row).input_ids) for row in rows) / sum(len(row.input_ids) for row in rows)
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"
    print(f"device                  {device}, torch {torch.__version__}")
    print(f"rows                    {len(rows):,}; {kept:.0%} of their tokens lie before the last label")
    print(f"usual way               {usual:8.0f} target tokens/s")
    print(f"ours                    {ours:8.0f} target tokens/s")
    print(f"ratio                   {ours / usual:8.2f}")
    print(f"first loss, relative    {apart:8.1e} apart")
    if apart > LOSS_TOLERANCE:
        print("bf16 rounds: with --float32 they agree to 1e-5")


if __name__ == "__main__":
    typer.run(main)
