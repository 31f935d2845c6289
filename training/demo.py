"""Make the demo pair from the dialogues: tokenizer, shared base, then one masked fine-tune for each side."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from platolm.dyadic import PROFILES, Turn
from platolm.errors import PlatoLMError
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.bpe import train_tokenizer
from training.card import MEASURES, data_account, write_cards
from training.checkpoints import load_model, new_model, put_in_place, read_record, save_model
from training.recipes import (
    DEMO_BASE,
    DEMO_PLATOLM,
    DEMO_SECOND,
    DEMO_SHAPE,
    DEMO_SOCRATIC,
    DEMO_START,
    ModelShape,
    SftRecipe,
)
from training.rows import RowSet, augmented, build_both_sides, build_rows, cut_before_long_turn, encode_turns
from training.scoring import targets_of
from training.simulate import findings_of
from training.sources import Dialogues, Split, read_demo_dialogues

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

_PLANNED_ROW = 0.96  # of the context: what joined dialogues are planned to fill, header aside

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pipeline:
    """The stages of one run. A finished stage is a folder in `work`, named for its recipe, and is not made again."""

    dialogues: Dialogues
    shape: ModelShape
    work: Path
    say: Say
    compile_model: bool = True

    def tokenizer(self) -> Path:
        folder = self.work / f"tokenizer-{_fingerprint(self.shape.vocab_size)}"
        if not folder.exists():
            self.say(f"tokenizer: training byte-level BPE with {self.shape.vocab_size} entries")
            texts = (m.content for c in self.dialogues.by_split[Split.TRAIN] for m in c.messages)
            fresh = folder.with_name(folder.name + ".new")
            train_tokenizer(texts, fresh, vocab_size=self.shape.vocab_size, context=self.shape.context)
            put_in_place(fresh, folder)
        return folder

    def model(self, recipe: SftRecipe, start: Path | None = None) -> Path:
        """Train a recipe from random weights, or from the folder `start`; its folder when done."""
        folder = self.work / f"{recipe.name}-{_fingerprint(self.shape, recipe, start and start.name)}"
        if folder.exists():
            self.say(f"{recipe.name}: finished earlier, taken from {folder}")
            return folder
        from transformers import AutoTokenizer

        from training.sft import train

        tokenizer_folder = self.tokenizer()
        tokenizer = load_tokenizer(tokenizer_folder)
        training = passes(self._turns(Split.TRAIN, recipe, tokenizer), recipe, self.shape, tokenizer)
        validation = passes(
            self._turns(Split.VALIDATION, recipe, tokenizer), replace(recipe, num_passes=1, join_share=0.0), self.shape,
            tokenizer,
        )  # fmt: skip
        self.say(
            f"{recipe.name}: {len(training.rows):,} rows, {training.num_tokens:,} tokens, "
            f"{training.num_labels:,} of them labelled, {training.num_all_masked:,} all-masked rows dropped"
        )
        model = load_model(start) if start else new_model(self.shape, seed=recipe.seed)
        started = time.monotonic()
        state = train(
            model,
            AutoTokenizer.from_pretrained(tokenizer_folder),
            training.rows,
            validation.rows,
            recipe,
            self.work / f"{folder.name}.checkpoints",
            report=lambda line: self.say(f"{recipe.name}: {_progress(line, started)}"),
            compile_model=self.compile_model,
        )
        record = _record(recipe, training, state, (time.monotonic() - started) / 60)
        if start is not None:
            record["earlier"] = read_record(start)
        if start is not None and recipe.blend:
            model, chosen = self._blended(load_model(start), model, recipe, tokenizer)
            record |= chosen
        save_model(model, tokenizer_folder, folder, record, PROFILES.get(recipe.name))
        shutil.rmtree(self.work / f"{folder.name}.checkpoints", ignore_errors=True)
        return folder

    def _blended(
        self, start: LlamaForCausalLM, tuned: LlamaForCausalLM, recipe: SftRecipe, tokenizer: HubTokenizer
    ) -> tuple[LlamaForCausalLM, dict[str, Any]]:
        """The best model on the way from the start to the fine-tune, and what the record says of the choice."""
        from training.blending import best_share, blended, losses_by_share

        turns = self._turns(Split.VALIDATION, recipe, tokenizer)
        losses = losses_by_share(
            start, tuned, targets_of(turns, recipe.profiles[0], tokenizer, context=self.shape.context)
        )
        share = best_share(losses)
        self.say(f"{recipe.name}: {share:.0%} of the way from the base has the lowest validation loss")
        by_share = {str(key): round(value, 4) for key, value in losses.items()}
        return blended(start, tuned, share), {"share_of_the_way": share, "validation_loss_by_share": by_share}

    def _turns(self, split: Split, recipe: SftRecipe, tokenizer: HubTokenizer) -> list[list[Turn]]:
        conversations = self.dialogues.by_split[split]
        return [cut_before_long_turn(encode_turns(c, tokenizer), recipe.turn_limits) for c in conversations]


def publish(models: Mapping[str, Path], dialogues: Dialogues, shape: ModelShape, out: Path, say: Say) -> None:
    """Measure finished models, write their cards, and put everything at `out` in one rename."""
    from training.evaluate import as_json, evaluate
    from training.simulate import free_dialogues

    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, folder in models.items():
        shutil.copytree(folder, fresh / name)
    columns = evaluate(fresh, dialogues.by_split, report=lambda text: say(f"measuring: {text}"))
    say("measuring: free dialogues between the two")
    findings = findings_of(free_dialogues(fresh))
    measures = {"data": data_account(dialogues), "columns": as_json(columns), "simulation": asdict(findings)}
    (fresh / MEASURES).write_text(json.dumps(measures, indent=2) + "\n", encoding="utf-8")
    write_cards(fresh, shape)
    put_in_place(fresh, out)


def passes(
    dialogues: Sequence[Sequence[Turn]], recipe: SftRecipe, shape: ModelShape, tokenizer: HubTokenizer
) -> RowSet:
    """The rows of all passes, each pass with its own order and joins, under the recipe's headers in turn."""
    rng = random.Random(recipe.seed)
    build = build_both_sides if recipe.every_turn else build_rows
    result = RowSet()
    for _ in range(recipe.num_passes):
        conversations = augmented(
            dialogues, join_share=recipe.join_share, num_tokens=int(shape.context * _PLANNED_ROW), rng=rng
        )
        for position, profile in enumerate(recipe.profiles):
            result.extend(
                build(conversations[position :: len(recipe.profiles)], profile, tokenizer, max_length=shape.context)
            )
    return result


def _fingerprint(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _progress(line: dict[str, float], started: float) -> str:
    minutes = (time.monotonic() - started) / 60
    wanted = {"loss": "loss", "eval_loss": "validation loss", "learning_rate": "lr"}
    values = ", ".join(f"{title} {line[key]:.4g}" for key, title in wanted.items() if key in line)
    return f"step {line['step']:,}/{line['max_steps']:,}, {minutes:.1f} min, {values}"


def _record(recipe: SftRecipe, training: RowSet, state: Any, minutes: float) -> dict[str, Any]:
    share_seen = min(1.0, state.global_step * recipe.batch_rows / max(1, len(training.rows)))
    return {
        "recipe": {**asdict(recipe), "turn_limits": dict(recipe.turn_limits)},
        "rows": len(training.rows),
        "all_masked_rows_dropped": training.num_all_masked,
        "steps": state.global_step,
        "steps_planned": state.max_steps,
        "tokens_seen": round(training.num_tokens * share_seen),
        "labels_seen": round(training.num_labels * share_seen),
        "minutes": round(minutes, 1),
        "best_validation_loss": state.best_metric,
        "best_step": state.best_global_step,
        "validation_losses": [[e["step"], round(e["eval_loss"], 4)] for e in state.log_history if "eval_loss" in e],
    }


def main(
    data: Annotated[Path, typer.Option(help="Folder of the dialogue files; `training/sources.py` names them.")],
    out: Annotated[Path, typer.Option(help="Where the models go; what is there is replaced at the end.")] = Path(
        "models/demo"
    ),
    work: Annotated[Path, typer.Option(help="Finished stages and checkpoints; removed after success.")] = Path(
        "build/demo-models"
    ),
    minutes: Annotated[
        float | None,
        typer.Option(min=1, help="End each training after so many minutes, whatever its recipe says."),
    ] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores unless given.")] = None,
    compile_model: Annotated[
        bool, typer.Option("--compile/--no-compile", help="torch.compile needs a C++ compiler; twice as fast.")
    ] = True,
) -> None:
    """Make the demo models again: a tokenizer, a shared base, the user simulator and the respondent.

    Four stages, about seventy minutes on two cores with bf16 instructions. A finished stage is kept in the work
    folder, so that a run that was stopped goes on with the next one; give the same command again.

        python -m training.demo --data FOLDER --out models/demo

    A first look at the whole pipeline in ten minutes, with poor models:

        python -m training.demo --data FOLDER --out build/try --minutes 2
    """
    import torch

    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()

    def say(text: str) -> None:
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {escape(text)}", highlight=False)

    def timed(recipe: SftRecipe) -> SftRecipe:
        return recipe if minutes is None else replace(recipe, max_minutes=minutes)

    try:
        dialogues = read_demo_dialogues(data)
        say(f"data: {sum(dialogues.used.values()):,} dialogues used, {dialogues.dropped.total():,} left out")
        pipeline = Pipeline(dialogues, DEMO_SHAPE, work, say, compile_model)
        base = pipeline.model(timed(DEMO_START))
        for recipe in (DEMO_SECOND, DEMO_BASE):
            base = pipeline.model(timed(recipe), base)
        sides = {recipe.name: pipeline.model(timed(recipe), base) for recipe in (DEMO_SOCRATIC, DEMO_PLATOLM)}
        publish({"base": base, **sides}, dialogues, DEMO_SHAPE, out, say)
    except (PlatoLMError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    except KeyboardInterrupt as stop:
        console.print("stopped; the same command goes on with the first unfinished stage")
        raise typer.Exit(130) from stop
    shutil.rmtree(work, ignore_errors=True)
    say(f"done: {out}")


if __name__ == "__main__":
    typer.run(main)
