"""Make the demo pair as two adapters of the demo base: one masked low-rank fine-tune for each side."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from platolm.cli.console import EXIT_INTERRUPTED, print_error
from platolm.errors import PlatoLMError
from training.adapter_card import Columns, adapter_card
from training.card import MEASURES
from training.demo import Pipeline, Say, shortened
from training.export import CARD, RECORD, put_in_place, read_record
from training.recipes import DEMO_BASE_FOLDER, DEMO_PLATOLM_LORA, DEMO_SHAPE, DEMO_SOCRATIC_LORA
from training.run_folder import RunFolder
from training.sources import Dialogues, read_demo_dialogues

_CONFIG, _WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


def publish(runs: Mapping[str, RunFolder], base: str, out: Path, columns: Columns) -> None:
    """Put finished runs' adapters at `out`, one folder each, in one rename: weights in bf16, what the run found beside.

    Args:
        base: what an adapter's configuration says it belongs to.
        columns: what `measured` found, for the card.
    """
    fresh = out.with_name(out.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    for name, run in runs.items():
        folder = fresh / name
        folder.mkdir(parents=True)
        config = json.loads((run.adapters / _CONFIG).read_text(encoding="utf-8")) | {"base_model_name_or_path": base}
        config["target_modules"] = sorted(config["target_modules"])  # a set, in another order each time
        (folder / _CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        _write_as_bf16(run.adapters / _WEIGHTS, folder / _WEIGHTS)
        shutil.copyfile(run.model / RECORD, folder / RECORD)
    (fresh / MEASURES).write_text(json.dumps({"columns": columns}, indent=2) + "\n", encoding="utf-8")
    card = adapter_card({name: read_record(fresh / name) for name in runs}, columns, _columns_beside(Path(base)))
    (fresh / CARD).write_text(card, encoding="utf-8")
    put_in_place(fresh, out)


def measured(runs: Mapping[str, RunFolder], base: Path, dialogues: Dialogues, work: Path, say: Say) -> Columns:
    """Held-out loss of the base, and of the adapters as they are merged into it, on either role's turns."""
    from training.evaluate import as_json, evaluate

    with tempfile.TemporaryDirectory(dir=work) as folder:
        for name, model in {"base": base, **{name: run.model for name, run in runs.items()}}.items():
            (Path(folder) / name).symlink_to(model.resolve(), target_is_directory=True)
        return as_json(evaluate(Path(folder), dialogues.by_split, report=lambda text: say(f"measuring: {text}")))


def _columns_beside(base: Path) -> Columns | None:
    """What was measured of the full fine-tunes that lie beside the base."""
    path = base.parent / MEASURES
    return json.loads(path.read_text(encoding="utf-8"))["columns"] if path.is_file() else None


def _write_as_bf16(source: Path, target: Path) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    save_file({name: tensor.to(torch.bfloat16) for name, tensor in load_file(source).items()}, target)
    target.chmod(0o644)  # safetensors writes for its owner alone


def main(
    data: Annotated[Path, typer.Option(help="Folder of the dialogue files; `training/sources.py` names them.")],
    base: Annotated[Path, typer.Option(help="The base that both adapters belong to.")] = Path(DEMO_BASE_FOLDER),
    out: Annotated[Path, typer.Option(help="Where the adapters go; what is there is replaced at the end.")] = Path(
        "models/demo/adapters"
    ),
    work: Annotated[Path, typer.Option(help="Finished stages and checkpoints; removed after success.")] = Path(
        "build/demo-adapters"
    ),
    steps: Annotated[int | None, typer.Option(min=1, help="End each training after so many steps.")] = None,
) -> None:
    """Make the demo pair's adapters again, for one engine that serves both sides.

    About ten minutes on two cores with bf16 instructions; a stopped training goes on from its last checkpoint.

        python -m training.demo_adapters --data FOLDER
    """
    from training.stopping import Stopped

    console = Console()

    def say(text: str) -> None:
        console.print(f"[dim]{time.strftime('%H:%M:%S')}[/dim] {escape(text)}", highlight=False)

    try:
        dialogues = read_demo_dialogues(data)
        pipeline = Pipeline(dialogues, DEMO_SHAPE, work, say)
        recipes = [shortened(recipe, steps) for recipe in (DEMO_SOCRATIC_LORA, DEMO_PLATOLM_LORA)]
        runs = {recipe.side.value: RunFolder(pipeline.model(recipe, base).parent) for recipe in recipes}
        publish(runs, str(base), out, measured(runs, base, dialogues, work, say))
    except PlatoLMError as error:
        raise typer.Exit(print_error(error)) from error
    except Stopped as stopped:
        say(f"{stopped}; the same command goes on from there")
        raise typer.Exit(EXIT_INTERRUPTED) from stopped
    shutil.rmtree(work, ignore_errors=True)
    say(f"done: {out}")


if __name__ == "__main__":
    typer.run(main)
