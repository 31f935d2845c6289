"""Masked supervised fine-tuning: TRL's SFTTrainer, with our steps, our loss, and checkpoints that can be relied on."""

from __future__ import annotations

import math
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from accelerate import FullyShardedDataParallelPlugin  # type: ignore[import-untyped]
from peft import get_peft_model
from torch import Tensor
from torch.nn import Module
from torch.optim import Optimizer
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, PreTrainedModel, Trainer
from transformers.trainer import SCHEDULER_NAME
from transformers.trainer_utils import rotate_checkpoints
from trl.trainer.sft_trainer import SFTTrainer

from platolm.errors import TrainingError
from training.batches import MICRO_BATCHES, RowSource, StepDataset
from training.checkpoints import complete, saving, what_is_kept
from training.cpu_sharding import shard_on_cpu
from training.flops import Throughput
from training.loss import CompactedHead, full_logits, labels_at, nats
from training.optimizer import new_optimizer
from training.recipes.recipe import Recipe
from training.restoring import (
    is_sharded_checkpoint,
    read_sharded_moments,
    read_sharded_weights,
    spread_whole_moments,
    spread_whole_weights,
)

_SHOWN_TURNS = 8
_COUNTED = ("positions", "targets", "turns")


class MaskedTrainer(SFTTrainer):
    """One of its steps is one step of the plan, whatever the number of devices and micro-batches.

    What differs from SFTTrainer: batches come cut from `StepDataset`; the loss is normalised over the labels of the
    whole step, which the plan knows; the held-out loss is a mean over tokens, not over batches; a checkpoint counts
    only once it is whole; a gradient that is not finite ends the run before it touches the weights.
    """

    def __init__(
        self, *, recipe: Recipe, steps: StepDataset, held_out: RowSource, throughput: Throughput, **kwargs: Any
    ) -> None:
        self._recipe = recipe
        self.steps = steps
        self._held_out = held_out
        self._throughput = throughput
        super().__init__(**kwargs)
        self._folder = Path(str(self.args.output_dir))
        self._head = CompactedHead(self.accelerator.unwrap_model(self.model))

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp_plugin_args is not None and not self.is_fsdp_enabled:
            shard_on_cpu(self.accelerator, FullyShardedDataParallelPlugin(**self.args.fsdp_plugin_args))
            self.is_fsdp_enabled = True
        if self.is_fsdp_enabled:
            # The first rank's weights are sent to all, parameter by parameter: only it has loaded them. As a setting of
            # the trainer's it would be an environment variable, by which every later loading comes out empty too.
            self.accelerator.state.fsdp_plugin.cpu_ram_efficient_loading = True

    # The plan's steps instead of the trainer's batches.

    def get_train_dataloader(self) -> DataLoader[Any]:
        return DataLoader(
            self.steps,
            batch_size=1,
            shuffle=False,
            collate_fn=_only,
            num_workers=1,
            worker_init_fn=_leave_signals_to_the_trainer,
            prefetch_factor=2,
            persistent_workers=False,
            pin_memory=False,
        )

    def _get_num_items_in_batch(self, batch_samples: list[Any], device: torch.device) -> int | None:
        return sum(int(sample["num_labels"]) for sample in batch_samples)

    def training_step(self, model: Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Forward and backward over this device's micro-batches; gradients are reduced with the last."""
        *earlier, last = inputs[MICRO_BATCHES]
        total = torch.zeros((), device=self.args.device)
        for micro_batch in earlier:
            with self.accelerator.no_sync(model=model):
                total += super().training_step(model, micro_batch, num_items_in_batch)  # type: ignore[no-untyped-call]
        total += super().training_step(model, last, num_items_in_batch)  # type: ignore[no-untyped-call]
        self._throughput.add(inputs["lengths"], inputs["num_labels"])
        return total

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        return 0  # `training.flops` counts them

    # The loss.

    def compute_loss(
        self,
        model: Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Sum over the labels of this micro-batch / labels of the whole step, times the devices that average."""
        assert not return_outputs, "evaluation goes its own way"
        total = self._nats(model, inputs).sum()
        return total / num_items_in_batch * self.accelerator.num_processes

    def _nats(self, model: Module, micro_batch: Mapping[str, Any]) -> Tensor:
        """−log P of each label of a micro-batch [n]."""
        inputs = {name: value for name, value in micro_batch.items() if name not in _COUNTED}
        positions, targets = micro_batch["positions"], micro_batch["targets"]
        match self._recipe.memory.head:
            case "compacted":
                return nats(self._head.logits(model, positions, **inputs), targets)
            case "full":
                return nats(full_logits(model, positions, **inputs), targets)
            case "fused":
                labels = labels_at(positions, targets, inputs["input_ids"].shape)
                outputs = model(**inputs, labels=labels, use_cache=False, fused_lm_head=True)
                log_probs: Tensor = outputs.log_probs[outputs.label_mask.bool()]
                return -log_probs

    # Held-out loss, over tokens.

    def evaluate(self, *args: Any, metric_key_prefix: str = "eval", **kwargs: Any) -> dict[str, float]:
        """NLL in nats a token and perplexity on the held-out rows' labels, and NLL by the turn's position."""
        with self._throughput.paused():
            metrics = _metrics(self._held_out_sums(self._held_out), metric_key_prefix)
        Trainer.log(self, metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    @torch.no_grad()
    def _held_out_sums(self, rows: RowSource) -> Tensor:
        """[2, turns]: nats and number of labels by turn position, the last column for all later ones."""
        model = self.model_wrapped
        model.eval()
        sums = torch.zeros(2, _SHOWN_TURNS + 1, dtype=torch.float64)
        for one in self.steps.cut(range(len(rows)), rows.lengths):
            micro_batch = self._prepare_inputs(self.steps.tensors(rows.read(one)))
            with self.compute_loss_context_manager():
                losses = self._nats(model, micro_batch).double().cpu()
            turns = micro_batch["turns"].cpu().clamp(max=_SHOWN_TURNS)
            sums[0].index_add_(0, turns, losses)
            sums[1].index_add_(0, turns, torch.ones_like(losses))
        total: Tensor = self.accelerator.reduce(sums.float().to(self.args.device), reduction="sum").double().cpu()
        model.train()
        return total

    def held_out_loss(self) -> float:
        """Nats a token on the held-out rows, with the weights as they are."""
        nats_by_turn, labels_by_turn = self._held_out_sums(self._held_out)
        return float(nats_by_turn.sum() / labels_by_turn.sum())

    # Optimizer, schedule, logs.

    def create_optimizer(self, model: Any = None) -> Optimizer:
        if self.optimizer is None:
            self.optimizer = new_optimizer(cast(Module, model or self.model), self._recipe.optimizer)
        return self.optimizer

    def _get_grad_norm(self, model: Module, grad_norm: Any = None) -> Any:
        """The norm over all devices.

        Raises:
            TrainingError: it is not finite; the weights were not touched by this step.
        """
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)  # type: ignore[no-untyped-call]
        if norm is not None and not math.isfinite(float(norm)):
            raise TrainingError(
                f"the gradient of step {self.state.global_step + 1:,} is not finite; {what_is_kept(self._folder)}; "
                "try a lower optimizer.learning_rate, or memory.bf16=false"
            )
        return norm

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds throughput; epochs are the plan's."""
        self.state.epoch = self.steps.plan.epochs_after(self.state.global_step)
        if "loss" in logs:
            logs |= self._throughput.rates()
        Trainer.log(self, logs, start_time)

    # Checkpoints.

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Write a checkpoint; the older ones go only when it is whole."""
        folder = self._folder / f"checkpoint-{self.state.global_step}"
        with self._throughput.paused(), saving(folder):
            folder.mkdir(parents=True, exist_ok=True)  # a sharded save asks whether the best one's is there
            Trainer._save_checkpoint(self, model, trial)
            self.accelerator.wait_for_everyone()
            if self.args.should_save:
                complete(folder)
        if self.args.should_save:
            rotate_checkpoints(
                str(self._folder), self._recipe.evaluation.keep_checkpoints, self.state.best_model_checkpoint
            )
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Module | None = None) -> None:
        checkpoint = Path(resume_from_checkpoint)
        if not self._is_of_other_sharding(checkpoint):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        elif self.is_fsdp_enabled:
            spread_whole_weights(cast(Module, model or self.model), checkpoint, is_first=self.args.process_index == 0)
        else:
            read_sharded_weights(self.accelerator.unwrap_model(model or self.model), checkpoint)

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self._is_of_other_sharding(Path(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        assert self.optimizer is not None
        assert self.lr_scheduler is not None
        optimizer: Optimizer = getattr(self.optimizer, "optimizer", self.optimizer)
        if self.is_fsdp_enabled:
            spread_whole_moments(
                cast(Module, self.model), optimizer, Path(checkpoint), is_first=self.args.process_index == 0
            )
        else:
            read_sharded_moments(self.accelerator.unwrap_model(self.model), optimizer, Path(checkpoint))
        self.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / SCHEDULER_NAME, weights_only=True))

    def _load_best_model(self) -> None:
        best = self.state.best_model_checkpoint
        if best is not None and self._is_of_other_sharding(Path(best)):
            self._load_from_checkpoint(best)
        else:
            super()._load_best_model()

    def _is_of_other_sharding(self, checkpoint: Path) -> bool:
        return is_sharded_checkpoint(checkpoint) != self.is_fsdp_enabled

    def _issue_warnings_after_load(self, load_result: Any) -> None:
        """A tied head is not in the file, and not missing."""
        tied = set(getattr(self.model, "all_tied_weights_keys", None) or ())
        load_result.missing_keys[:] = [key for key in load_result.missing_keys if key not in tied]
        super()._issue_warnings_after_load(load_result)

    # The end.

    def whole_model(self, adapters: Path) -> PreTrainedModel | None:
        """The weights of all devices in one model on the CPU of the first; None on the others.

        Low-rank adapters are written to the folder `adapters`, then merged.
        """
        state = self.accelerator.get_state_dict(self.model)
        if not self.args.should_save:
            return None
        model = self.accelerator.unwrap_model(self.model)
        config, adapter_config = model.config, getattr(model, "peft_config", {}).get("default")
        config._attn_implementation = None
        with torch.device("meta"):
            fresh = AutoModelForCausalLM.from_config(config)  # type: ignore[no-untyped-call]
        if adapter_config is not None:
            fresh = get_peft_model(fresh, adapter_config, low_cpu_mem_usage=True)
        fresh.load_state_dict({name: value.cpu() for name, value in state.items()}, strict=True, assign=True)
        if adapter_config is not None:
            fresh.save_pretrained(adapters)
            fresh = fresh.merge_and_unload()
        fresh.tie_weights()
        result: PreTrainedModel = fresh
        return result


def _leave_signals_to_the_trainer(worker: int) -> None:
    """A terminal, and batch systems too, signal every process; the step in hand still needs its rows."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _only(elements: list[Any]) -> Any:
    (element,) = elements
    return element


def _metrics(sums: Tensor, prefix: str) -> dict[str, float]:
    nats_by_turn, labels_by_turn = sums.tolist()
    num_labels = sum(labels_by_turn)
    loss = sum(nats_by_turn) / max(1.0, num_labels)
    metrics = {"loss": loss, "perplexity": math.exp(min(loss, 700.0)), "tokens": num_labels}
    for turn, (total, count) in enumerate(zip(nats_by_turn, labels_by_turn, strict=True), start=1):
        if count:
            name = f"loss_turn_{turn}" if turn <= _SHOWN_TURNS else f"loss_turn_{turn}_on"
            metrics[name] = total / count
    return {f"{prefix}_{name}": value for name, value in metrics.items()}
