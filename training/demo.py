"""Make the demo pair from the dialogues: tokenizer, shared base, then one masked fine-tune for each side."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from platolm.cli.console import EXIT_INTERRUPTED, print_error
from platolm.conversation import to_sharegpt
from platolm.errors import InputError, PlatoLMError
from platolm.storage import open_atomically
from training.bpe import train_tokenizer
from training.card import MEASURES, data_account, write_cards
from training.export import put_in_place
from training.recipes import DEMO_BASE, DEMO_PLATOLM, DEMO_SHAPE, DEMO_SOCRATIC
from training.recipes.recipe import ModelShape, Recipe
from training.run_folder import RunFolder
from training.simulate import findings_of
from training.sources import Dialogues, Split, read_demo_dialogues

Say = Callable[[str], None]


@dataclass(frozen=True)
class Pipeline:
    """The stages of one making. A finished stage stays in `work`, and is not made again for the same recipe."""

    dialogues: Dialogues
    shape: ModelShape
    work: Path
    say: Say

    def tokenizer(self) -> Path:
        """Folder of the tokenizer that all models share."""
        folder = self.work / "tokenizer"
        if not folder.exists():
            self.say(f"tokenizer: training byte-level BPE with {self.shape.vocab_size} entries")
            texts = (m.content for c in self.dialogues.by_split[Split.TRAIN] for m in c.messages)
            fresh = folder.with_name(folder.name + ".new")
            train_tokenizer(texts, fresh, vocab_size=self.shape.vocab_size, context=self.shape.context)
            put_in_place(fresh, folder)
        return folder

    def data(self) -> Path:
        """What the recipes read: all dialogues but the held-out ones."""
        path = self.work / "dialogues.jsonl"
        with open_atomically(path) as file:
            for split in (Split.TRAIN, Split.VALIDATION):
                for conversation in self.dialogues.by_split[split]:
                    record = {"id": conversation.id, "conversations": to_sharegpt(conversation.messages)}
                    file.write(json.dumps(record, ensure_ascii=False).encode() + b"\n")
        return path

    def model(self, recipe: Recipe, start: Path) -> Path:
        """Train a recipe from the model, or with random weights for the tokenizer, in `start`; the model's folder.

        Raises:
            Stopped: a signal asked for it.
            InputError: the work folder holds another recipe's run of that name.
        """
        from training.train import run_alone

        recipe = recipe.model_copy(
            update={
                "model": recipe.model.model_copy(update={"path": str(start)}),
                "data": recipe.data.model_copy(update={"paths": (str(self.data()),)}),
            }
        )
        folder = RunFolder(self.work / recipe.name)
        if folder.exists() and folder.recipe() != recipe:
            raise InputError(f"{folder.path} holds a run of other settings: remove it, or give another --work")
        if folder.result() is not None:
            self.say(f"{recipe.name}: finished earlier, taken from {folder.path}")
        else:
            self.say(f"{recipe.name}: training")
            folder.write_recipe(recipe)
            run_alone(folder)
        return folder.model


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


def shortened(recipe: Recipe, steps: int | None) -> Recipe:
    """The recipe ending after so many steps at most."""
    schedule = recipe.schedule.model_copy(update={"max_steps": steps})
    return recipe if steps is None else recipe.model_copy(update={"schedule": schedule})


def main(
    data: Annotated[Path, typer.Option(help="Folder of the dialogue files; `training/sources.py` names them.")],
    out: Annotated[Path, typer.Option(help="Where the models go; what is there is replaced at the end.")] = Path(
        "models/demo"
    ),
    work: Annotated[Path, typer.Option(help="Finished stages and checkpoints; removed after success.")] = Path(
        "build/demo-models"
    ),
    base: Annotated[Path | None, typer.Option(help="Take this base instead of training one.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="End each training after so many steps.")] = None,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores unless given.")] = None,
) -> None:
    """Make the demo models again: a tokenizer, a shared base, the user simulator and the respondent.

    About an hour on two cores with bf16 instructions; with --base, a quarter of an hour. A finished stage is kept in
    the work folder and a stopped training goes on from its last checkpoint; give the same command again.

        python -m training.demo --data FOLDER --out models/demo

    New sides from the base that is there:

        python -m training.demo --data FOLDER --base models/demo/base --out models/demo

    A first look at the whole pipeline in ten minutes, with poor models:

        python -m training.demo --data FOLDER --out build/try --work build/try-work --steps 50
    """
    import torch

    from training.stopping import Stopped

    if threads is not None:
        torch.set_num_threads(threads)
    console = Console()

    def say(text: str) -> None:
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {escape(text)}", highlight=False)

    try:
        dialogues = read_demo_dialogues(data)
        say(f"data: {sum(dialogues.used.values()):,} dialogues used, {dialogues.dropped.total():,} left out")
        pipeline = Pipeline(dialogues, DEMO_SHAPE, work, say)
        start = base or pipeline.model(shortened(DEMO_BASE, steps), pipeline.tokenizer())
        sides = {r.side.value: pipeline.model(shortened(r, steps), start) for r in (DEMO_SOCRATIC, DEMO_PLATOLM)}
        publish({"base": start, **sides}, dialogues, DEMO_SHAPE, out, say)
    except PlatoLMError as error:
        raise typer.Exit(print_error(error)) from error
    except Stopped as stopped:
        say(f"{stopped}; the same command goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED) from stopped
    shutil.rmtree(work, ignore_errors=True)
    say(f"done: {out}")


if __name__ == "__main__":
    typer.run(main)
