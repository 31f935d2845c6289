"""One rank of a training run: rows, model, trainer, export, all in a run folder. Started by `platolm train`."""

from __future__ import annotations

import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.distributed import destroy_process_group, is_initialized
from torch.utils.tensorboard import SummaryWriter
from transformers import AutoTokenizer, EarlyStoppingCallback, PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback
from transformers.trainer_callback import PrinterCallback
from transformers.utils.logging import disable_progress_bar

from platolm.cli.console import EXIT_FAILURE, print_error
from platolm.dyadic import PROFILES
from platolm.errors import PlatoLMError, TrainingError
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.batches import Cut, RowSource, RowTensors, StepDataset
from training.blending import keep_best_blend, start_of_adapters
from training.checkpoints import newest_checkpoint, remove_torn, what_is_kept
from training.data import PreparedRows, prepare
from training.devices import Devices, lost_peer
from training.dropout import residual_dropout
from training.export import export, pad_id_of
from training.flops import ModelFlops, Throughput, peak_flops_here
from training.models import attention_for, compile_layers, layer_classes, load_model, lora_config, model_to_train
from training.recipes.recipe import Recipe
from training.run_card import run_card
from training.run_folder import RunFolder
from training.sft_settings import is_sharded, layout_of, sft_config
from training.steps import StepPlan
from training.stopping import Stopped, StopSignal
from training.trainer import MaskedTrainer
from training.view import ProgressCallback, write_loss_plot

if TYPE_CHECKING:
    from transformers.trainer_callback import TrainerState

EXIT_STOPPED = 143


def train(folder: RunFolder, devices: Devices, callbacks: Sequence[TrainerCallback] = ()) -> dict[str, Any]:
    """Run the folder's recipe to its end, from its newest checkpoint where there is one; the result's figures.

    Raises:
        Stopped: a signal asked for it; a checkpoint was saved.
        PlatoLMError: the data, the model or the disk does not allow it.
    """
    disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading and saving; the run has its own
    recipe, started = folder.recipe(), time.monotonic()
    tokenizer = load_tokenizer(recipe.model.path)
    rows = prepare(recipe.data, recipe.side, recipe.model.path, folder.row_cache)
    if devices.is_first:
        folder.write_data_report(rows.report.as_json())
        remove_torn(folder.checkpoints)
    trainer = build_trainer(recipe, rows, tokenizer, folder, devices, callbacks)
    checkpoint = devices.agreed(newest_checkpoint(folder.checkpoints))
    trainer.args.eval_on_start = trainer.args.eval_on_start and checkpoint is None
    model = cast(PreTrainedModel, trainer.model)
    with residual_dropout(model, recipe.model.residual_dropout):
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    result = _result(trainer.state, trainer.steps, time.monotonic() - started)
    if recipe.evaluation.blend and len(rows.held_out):
        result |= keep_best_blend(model, _start(model, recipe), trainer.held_out_loss)
    write_model(trainer, recipe, tokenizer, folder, result, rows)
    if devices.is_first:
        write_loss_plot(trainer.state.log_history, folder.loss_plot)
        folder.write_result(result)
    return result


def _start(model: PreTrainedModel, recipe: Recipe) -> dict[str, torch.Tensor]:
    """The weights that a run began with."""
    return start_of_adapters(model) if recipe.model.lora else dict(load_model(recipe.model.path).named_parameters())


def build_trainer(
    recipe: Recipe,
    rows: PreparedRows,
    tokenizer: HubTokenizer,
    folder: RunFolder,
    devices: Devices,
    callbacks: Sequence[TrainerCallback] = (),
) -> MaskedTrainer:
    """The trainer of a recipe, ready to run.

    Raises:
        InputError: there is no such model, or its vocabulary is smaller than the tokenizer's.
    """
    pad_id, attention = pad_id_of(tokenizer), attention_for(recipe.model)
    model = model_to_train(
        recipe.model,
        recipe.memory,
        tokenizer,
        attention=attention,
        pad_id=pad_id,
        seed=recipe.seed,
        without_weights=is_sharded(recipe, devices.number) and not devices.is_first,
    )
    if recipe.memory.compile:
        compile_layers(model)
    source, held_out = RowSource(rows.train), RowSource(rows.held_out)
    plan = StepPlan(
        source.lengths,
        recipe.batch,
        num_epochs=recipe.schedule.epochs,
        seed=recipe.seed,
        max_steps=recipe.schedule.max_steps,
    )
    layout = layout_of(recipe)
    tensors = RowTensors(layout, recipe.batch.pad_multiple, pad_id, varlen=attention.startswith("flash"))
    config = sft_config(
        recipe,
        folder.checkpoints,
        num_steps=len(plan),
        devices=devices,
        layer_classes=layer_classes(model),
        evaluates=len(held_out) > 0,
    )
    trainer = MaskedTrainer(
        model=model,
        args=config,
        recipe=recipe,
        steps=StepDataset(source, plan, Cut(recipe.batch, layout, devices.number, devices.rank), tensors),
        held_out=held_out,
        throughput=_throughput(recipe, model, devices),
        train_dataset=rows.train,
        eval_dataset=rows.held_out if len(held_out) else None,
        processing_class=_hub_tokenizer(tokenizer, pad_id),
        peft_config=lora_config(recipe.model.lora) if recipe.model.lora else None,
        callbacks=[*callbacks, *_patience(recipe), *_tensorboard(folder, devices)],
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


def write_model(
    trainer: MaskedTrainer,
    recipe: Recipe,
    tokenizer: HubTokenizer,
    folder: RunFolder,
    result: dict[str, Any],
    rows: PreparedRows,
) -> None:
    """Export the trainer's weights, gathered from all devices; adapters are merged, and lie beside."""
    record = {"recipe": recipe.model_dump(mode="json"), "result": result, "data": rows.report.as_json()}
    model = trainer.whole_model(folder.adapters)
    if model is None:
        return
    export(
        model,
        folder.model,
        tokenizer=tokenizer,
        profile=PROFILES.get(recipe.side),
        record=record,
        card=run_card(record),
    )


def _throughput(recipe: Recipe, model: PreTrainedModel, devices: Devices) -> Throughput:
    lora = recipe.model.lora
    flops = ModelFlops.of(model.config, frozen=lora is not None, lora_rank=lora.rank if lora else 0)
    return Throughput(flops, peak_flops_here() * devices.number, compacted_head=recipe.memory.head != "full")


def _hub_tokenizer(tokenizer: HubTokenizer, pad_id: int) -> PreTrainedTokenizerBase:
    """What TRL wants beside the model; rows are tokenised already."""
    result: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tokenizer.name)
    result.pad_token = tokenizer.token_of(pad_id)
    return result


def _tensorboard(folder: RunFolder, devices: Devices) -> list[TrainerCallback]:
    if not devices.is_first:
        return []
    return [TensorBoardCallback(SummaryWriter(str(folder.logs)))]  # type: ignore[no-untyped-call]


def _patience(recipe: Recipe) -> list[TrainerCallback]:
    patience = recipe.evaluation.patience
    return [EarlyStoppingCallback(early_stopping_patience=patience)] if patience else []


def _result(state: TrainerState, steps: StepDataset, seconds: float) -> dict[str, Any]:
    held_out = [entry for entry in state.log_history if "eval_loss" in entry]
    seen = [row for step in range(state.global_step) for row in steps.plan.rows(step)]
    return {
        "steps": state.global_step,
        "epochs": steps.plan.epochs_after(state.global_step),
        "rows": len(steps.source),
        "tokens": sum(steps.source.lengths[row] for row in seen),
        "labels": sum(steps.source.num_labels[row] for row in seen),
        "held_out_loss_before": held_out[0]["eval_loss"] if held_out and held_out[0]["step"] == 0 else None,
        "held_out_loss": state.best_metric,
        "best_step": state.best_global_step,
        "held_out_losses": [[entry["step"], round(entry["eval_loss"], 4)] for entry in held_out],
        "seconds": round(seconds, 1),
        "torch": torch.__version__,
    }


def run_alone(folder: RunFolder) -> None:
    """Run the folder's recipe in this process, with a progress view; a signal stops it after a save.

    Raises:
        Stopped: a signal came.
        PlatoLMError: see `train`.
    """
    devices = Devices.from_environment()
    with StopSignal() as stop, ExitStack() as view:
        callbacks = [view.enter_context(ProgressCallback()), stop] if devices.is_first else [stop]
        train(folder, devices, callbacks)


def main(run_folder: Path) -> int:
    """Run one rank; its exit code: 0 done, 143 stopped after saving, 1 or 2 an error, said in one line."""
    warnings.filterwarnings("ignore", module="torch|transformers|accelerate")
    try:
        run_alone(RunFolder(run_folder))
    except Stopped as stopped:
        if Devices.from_environment().is_first:
            print(f"{stopped}; the same command goes on from there", file=sys.stderr)
        return EXIT_STOPPED
    except PlatoLMError as error:
        return print_error(error)
    except (RuntimeError, ValueError) as error:  # what collectives raise
        reason = lost_peer(error) if Devices.from_environment().number > 1 else None
        if reason is None:
            raise
        return _left_alone(RunFolder(run_folder), reason)
    finally:
        if is_initialized():
            destroy_process_group()
    return 0


def _left_alone(folder: RunFolder, reason: str) -> int:
    """Say from where the run goes on, once a machine: what a rank knows that waited for one that is gone."""
    if Devices.from_environment().is_first_here:
        print_error(
            TrainingError(
                f"another process of this run is gone ({reason}); {what_is_kept(folder.checkpoints)}; to go on, give "
                "every machine its command again"
            )
        )
    return EXIT_FAILURE


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
