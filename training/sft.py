"""Masked supervised fine-tuning: TRL's SFTTrainer on rows whose ids and labels are ours."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset  # type: ignore[import-untyped]
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR
from transformers import LlamaForCausalLM, PreTrainedTokenizerBase, TrainerCallback, TrainerControl, TrainerState
from transformers.trainer_callback import PrinterCallback
from transformers.trainer_utils import IntervalStrategy
from trl.trainer.sft_config import SFTConfig
from trl.trainer.sft_trainer import SFTTrainer

from platolm.dyadic import IGNORE_INDEX, Composed
from training.dropout import residual_dropout
from training.optimizer import new_optimizer
from training.recipes import SftRecipe

Report = Callable[[dict[str, float]], None]
"""Told of every log line: step, loss, eval_loss, learning_rate and so on."""


@dataclass(frozen=True)
class RowCollator:
    """Pad rows on the right to a multiple of `multiple`, labels with `IGNORE_INDEX`.

    Positions stand in for an attention mask: behind a causal mask nothing looks at padding on the right, and without
    a dense mask attention takes its fast path. Few distinct lengths keep compiled kernels few.
    """

    pad_id: int
    multiple: int = 128

    def __call__(self, rows: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        longest = max(len(row["input_ids"]) for row in rows)
        width = -(-longest // self.multiple) * self.multiple
        return {
            "input_ids": self._padded(rows, "input_ids", width, self.pad_id),
            "labels": self._padded(rows, "labels", width, IGNORE_INDEX),
            "position_ids": torch.arange(width).expand(len(rows), width),
        }

    @staticmethod
    def _padded(rows: Sequence[dict[str, Any]], column: str, width: int, filler: int) -> torch.Tensor:
        return torch.tensor([[*row[column], *[filler] * (width - len(row[column]))] for row in rows])


class MaskedTrainer(SFTTrainer):
    """SFTTrainer with the plain cross entropy over the labels.

    TRL's own loss reads the head tile by tile, also where nothing is labelled, and computes entropies: on a CPU a step
    takes a quarter longer, and the value is the same. Overriding `compute_loss` is the way that TRL names.
    """

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, torch.Tensor],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        targets = inputs["labels"][:, 1:].flatten()
        outputs = model(input_ids=inputs["input_ids"], position_ids=inputs["position_ids"], use_cache=False)
        logits = outputs.logits[:, :-1].flatten(0, 1)
        total = cross_entropy(logits.float(), targets, ignore_index=IGNORE_INDEX, reduction="sum")
        num_labels = (targets != IGNORE_INDEX).sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / num_labels
        return (loss, outputs) if return_outputs else loss


class Schedule:
    """How far a run is, by steps or by the clock, whichever is further; the learning rate follows it to its end."""

    def __init__(self, recipe: SftRecipe, num_steps: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._recipe = recipe
        self._num_steps = num_steps
        self._clock = clock
        self._started_s = clock()

    def progress(self, step: int) -> float:
        elapsed = (self._clock() - self._started_s) / (60 * self._recipe.max_minutes)
        return min(1.0, max(step / self._num_steps, elapsed))

    def lr_share(self, step: int) -> float:
        """The learning rate at this step as a share of its peak: linear warm-up, then cosine to `min_lr_share`."""
        progress, warmup, floor = self.progress(step), self._recipe.warmup_share, self._recipe.min_lr_share
        if progress < warmup:
            return progress / warmup
        return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup)))


class _StopInTime(TrainerCallback):
    def __init__(self, schedule: Schedule) -> None:
        self._schedule = schedule

    def on_step_end(self, args: Any, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._schedule.progress(state.global_step) >= 1:
            control.should_training_stop = True
            control.should_evaluate = True
            control.should_save = True


class _Reporter(TrainerCallback):
    def __init__(self, report: Report) -> None:
        self._report = report

    def on_log(self, args: Any, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any) -> None:
        self._report({"step": state.global_step, "max_steps": state.max_steps, **(logs or {})})


def as_dataset(rows: Sequence[Composed]) -> Dataset:
    """The two columns that the trainer takes as they are; a mask column would be silently ignored."""
    return Dataset.from_dict({"input_ids": [r.input_ids for r in rows], "labels": [r.labels for r in rows]})


def sft_config(recipe: SftRecipe, num_steps: int, output: Path, *, compile_model: bool) -> SFTConfig:
    """The recipe as TRL's configuration, for one CPU process in bf16 autocast."""
    every = max(1, num_steps // recipe.num_evaluations)
    return SFTConfig(
        output_dir=str(output),
        max_steps=num_steps,
        per_device_train_batch_size=recipe.batch_rows,
        per_device_eval_batch_size=recipe.batch_rows,
        learning_rate=recipe.learning_rate,
        weight_decay=recipe.weight_decay,
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=True,
        gradient_checkpointing=False,
        torch_compile=compile_model,
        max_length=None,
        packing=False,
        train_sampling_strategy="group_by_length",
        eval_strategy=IntervalStrategy.STEPS,
        eval_steps=every,
        save_strategy=IntervalStrategy.STEPS,
        save_steps=every,
        save_total_limit=1,
        load_best_model_at_end=True,
        metric_for_best_model="eval_loss",
        logging_steps=max(1, min(25, every)),
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
        disable_tqdm=True,
        report_to="none",
        seed=recipe.seed,
    )


def train(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerBase,
    rows: Sequence[Composed],
    validation: Sequence[Composed],
    recipe: SftRecipe,
    output: Path,
    *,
    report: Report,
    compile_model: bool = True,
) -> TrainerState:
    """Train in place; the model ends with the weights of the lowest validation loss.

    `rows` hold every pass already, so they are gone through once. Checkpoints go to `output`.
    """
    num_steps = max(1, len(rows) // recipe.batch_rows)
    schedule = Schedule(recipe, num_steps)
    with residual_dropout(model, recipe.residual_dropout):
        config = sft_config(recipe, num_steps, output, compile_model=compile_model)
        optimizer = new_optimizer(model, recipe)
        trainer = MaskedTrainer(
            model=model,
            args=config,
            data_collator=RowCollator(tokenizer.pad_token_id),
            train_dataset=as_dataset(rows),
            eval_dataset=as_dataset(validation),
            processing_class=tokenizer,
            callbacks=[_StopInTime(schedule), _Reporter(report)],
            optimizers=(optimizer, LambdaLR(optimizer, schedule.lr_share)),
        )
        trainer.remove_callback(PrinterCallback)  # `report` says the same, once
        trainer.train()
    return trainer.state
