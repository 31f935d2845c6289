"""`platolm train`: a recipe, its changes, and where it runs."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platolm.cli.console import print_notice
from platolm.cli.run import resume_command
from platolm.errors import InputError

if TYPE_CHECKING:
    from training.launch import Placement
    from training.recipes.recipe import Recipe

TRAIN_EPILOG = """
**Examples**

- `platolm train --list`: the recipes

- `platolm train demo_socratic --show`: every setting of one, with what it means

- `platolm train demo_socratic --data sharegpt.jsonl`: the small user simulator, on a CPU or a GPU

- `platolm train platolm_7b --data data/clean --set optimizer.learning_rate=1e-5`: the paper's respondent, on every GPU
  of this machine

- `platolm train platolm_7b --data /shared/clean --out /shared/run --nodes 2 --node-rank 0 --rendezvous node0:29500`:
  on two machines; on the other one the same with `--node-rank 1`

Stopped by Ctrl-C, SIGTERM or a crash? The same command with the same `--out` goes on at the last checkpoint.
"""

_NO_FILE_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def register(app: typer.Typer) -> None:
    """Add the commands of training to the application; an entry point of `platolm.commands`."""
    app.command(epilog=TRAIN_EPILOG)(train)


def train(
    recipe: Annotated[
        str | None,
        typer.Argument(help="Name of a recipe, or a .yaml or .json file of one.", show_default=False),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Dialogues: files or folders, ShareGPT or OpenAI records, JSON or JSON lines, .gz or .zst, or the "
            "folder of a run. Give it again for more.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder of the training run. Default: runs/train-RECIPE-TIME.", show_default=False
        ),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a setting: group.key=value.", show_default=False),
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the recipe with all changes, and stop.")] = False,
    list_recipes: Annotated[bool, typer.Option("--list", help="Print the recipes, and stop.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Begin anew: refuse a folder that holds a run, instead of going on with it.")
    ] = False,
    wandb: Annotated[bool, typer.Option("--wandb", help="Log to Weights & Biases too.")] = False,
    gpus: Annotated[
        str, typer.Option(metavar="N", help="GPUs of this machine; auto: all that are visible; without one, the CPU.")
    ] = "auto",
    processes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes on the CPU, GPUs or not.", show_default=False),
    ] = None,
    nodes: Annotated[int, typer.Option(min=1, metavar="N", help="Machines that train together.")] = 1,
    node_rank: Annotated[int, typer.Option(min=0, metavar="N", help="Which of them this is, from 0.")] = 0,
    rendezvous: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where they meet: an address of node 0.", show_default=False)
    ] = None,
    peer_timeout: Annotated[
        int | None,
        typer.Option(
            min=10,
            metavar="SECONDS",
            help="A process that the others wait for so long counts as gone, and the run stops. Default: 1800.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Fine-tune a model on dialogues, with the loss on one side's turns.

    The folder gets `model`, ready to serve, with checkpoints, logs and the recipe beside it.
    """
    if list_recipes:
        _print_recipes()
        return
    original, resolved = _resolve(recipe, data or [], assignments or [], wandb=wandb)
    if show:
        from training.recipes.text import recipe_yaml

        print(recipe_yaml(resolved, original), end="")
        return
    _require_data(resolved)
    if nodes > 1 and out is None:
        raise InputError("--nodes needs --out, a folder that all machines share")
    from training.launch import place

    placement = place(
        gpus,
        processes,
        num_nodes=nodes,
        node_rank=node_rank,
        rendezvous=rendezvous,
        peer_timeout_s=peer_timeout,
        num_visible_gpus=_num_visible_gpus,
    )
    code = _start(resolved, out or default_folder(resolved.name, time.localtime()), placement, fresh=fresh)
    if code:
        raise typer.Exit(code)


def default_folder(recipe_name: str, at: time.struct_time) -> Path:
    """Where a run goes that was given no folder."""
    name = _NO_FILE_NAME.sub("-", recipe_name)
    return Path("runs") / time.strftime(f"train-{name}-%Y%m%d-%H%M%S", at)


def _print_recipes() -> None:
    from training.recipes import RECIPES
    from training.recipes.text import recipe_lines

    print("\n".join(recipe_lines(RECIPES.values())))


def _resolve(name: str | None, data: list[Path], assignments: list[str], *, wandb: bool) -> tuple[Recipe, Recipe]:
    """The recipe as it was named, and with what the command line changes."""
    from training.recipes import RECIPES
    from training.recipes.overrides import recipe_of, with_overrides

    if name is None:
        raise InputError("which recipe? `platolm train --list` names them, `platolm train --help` shows how to begin")
    original = recipe_of(name, RECIPES)
    changes = list(assignments)
    if data:
        changes.append(f"data.paths={json.dumps([os.path.abspath(path) for path in data])}")
    if wandb:
        changes.append("evaluation.wandb=true")
    return original, with_overrides(original, changes)


def _require_data(recipe: Recipe) -> None:
    if not recipe.data.paths:
        raise InputError(
            f"{recipe.name} needs dialogues: --data FILE or --data FOLDER, ShareGPT or OpenAI records as JSON or JSON "
            "lines (.gz, .zst too), or the folder of a `platolm run`"
        )
    for path in recipe.data.paths:
        if not os.path.exists(path):
            raise InputError(f"--data {path}: there is no such file or folder")
    if recipe.evaluation.wandb and importlib.util.find_spec("wandb") is None:
        raise InputError("logging to Weights & Biases needs its package: pip install wandb")


def _num_visible_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _start(recipe: Recipe, run_folder: Path, placement: Placement, *, fresh: bool) -> int:
    """Train in the folder; the exit code."""
    from training.launch import EXIT_DONE, EXIT_STOPPED, open_run, plan_launch, run_launch
    from training.run_folder import RunFolder

    num_cores = len(os.sched_getaffinity(0))
    launch = plan_launch(recipe, run_folder, placement, num_cores=num_cores, environ=os.environ)
    folder = RunFolder(run_folder)
    with open_run(folder, recipe, fresh=fresh, shared=placement.node_rank > 0) as was_begun:
        if folder.result() is not None:
            print_notice(f"{run_folder} is complete: nothing to do")
            return EXIT_DONE
        print_notice(f"{'going on with' if was_begun else 'training in'} {run_folder}")
        code = run_launch(launch, run_folder)
    if code == EXIT_STOPPED:
        again = [argument for argument in sys.argv[1:] if argument != "--fresh"]
        print_notice(f"to go on: {resume_command(run_folder, again)}")
    return code
