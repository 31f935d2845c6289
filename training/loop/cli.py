"""`platolm loop`: the closed loop as one command."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from platolm.cli.console import EXIT_INTERRUPTED, message_console, output_console, print_notice
from platolm.cli.run import resume_command
from platolm.errors import InputError, PlatoLMError

if TYPE_CHECKING:
    from rich.table import Table

    from training.loop.recipe import LoopRecipe

LOOP_EPILOG = """
**Examples**

- `platolm loop demo --data dialogues.jsonl`: the whole loop with the small models, on a CPU

- `platolm loop demo --data dialogues.jsonl --set synthesis.conversations=100 --set socratic.schedule.max_steps=50`

- `platolm loop demo --show > mine.json`, then `platolm loop mine.json --out runs/mine`: a loop of one's own

Stopped by Ctrl-C, SIGTERM or a crash? The same command with the same `--out` goes on in the stage where it was. A stage
is made again only where what it is made from has changed. Ports are those of `platolm up`, set by its environment
variables `PLATOLM_UP_*`.
"""


def register(app: typer.Typer) -> None:
    """Add the command to the application; an entry point of `platolm.commands`."""
    app.command(epilog=LOOP_EPILOG)(loop)


def loop(
    recipe: Annotated[
        str | None, typer.Argument(help="Name of a loop, or a .yaml or .json file of one.", show_default=False)
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="People's dialogues: files or folders, ShareGPT or OpenAI records, JSON or JSON lines, .gz or .zst. "
            "Give it again for more.",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the loop. Default: runs/loop-TIME.", show_default=False),
    ] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change a setting: group.key=value; socratic.… and platolm.… are the two trainings' recipes.",
            show_default=False,
        ),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Serve the new pair at the end, until Ctrl-C.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Print the loop with all changes, and stop.")] = False,
    list_loops: Annotated[bool, typer.Option("--list", help="Print the loops, and stop.")] = False,
) -> None:
    """Turn the closed loop once: clean dialogues, train the user simulator, let it talk to a teacher, train the
    respondent on that, measure both, and serve them.

    The folder gets a folder a stage; `05-evaluate` holds the report.
    """
    from training.loop.recipe import LOOPS

    if list_loops:
        print("\n".join(f"{one.name}  {one.purpose}" for one in LOOPS.values()))
        return
    resolved = _resolve(recipe, data or [], assignments or [])
    if show:
        print(resolved.model_dump_json(indent=2))
        return
    if not resolved.data:
        raise InputError(f"{resolved.name} needs people's dialogues: --data FILE or --data FOLDER")
    folder = out or Path("runs") / time.strftime("loop-%Y%m%d-%H%M%S")
    code = _run(resolved, folder, keep=keep)
    if code:
        raise typer.Exit(code)


def _resolve(name: str | None, data: list[Path], assignments: list[str]) -> LoopRecipe:
    from training.loop.recipe import loop_of
    from training.recipes.overrides import with_overrides

    if name is None:
        raise InputError("which loop? `platolm loop --list` names them, `platolm loop --help` shows how to begin")
    changes = list(assignments)
    if data:
        changes.append(f"data={json.dumps([os.path.abspath(path) for path in data])}")
    return with_overrides(loop_of(name), changes)


def _run(resolved: LoopRecipe, path: Path, *, keep: bool) -> int:
    from platolm.cli.up import until_interrupted
    from training.loop.folder import Stage, open_loop
    from training.loop.run import Loop

    def show_losses() -> None:
        output_console().print(losses_table(one.report(), folder.output(Stage.EVALUATE)))

    arguments = sys.argv[1:] if sys.argv[1:2] == ["loop"] else ["loop", *sys.argv[1:]]  # python -m training.loop
    go_on = resume_command(path, arguments)
    with open_loop(path, resolved) as folder:
        one = Loop(resolved, folder, message_console())
        try:
            asyncio.run(until_interrupted(one.run(keep=keep, then=show_losses)))
        except PlatoLMError:
            print_notice(f"to go on: {go_on}")
            raise
    if not one.finished:
        print_notice(f"stopped; to go on: {go_on}")
        return EXIT_INTERRUPTED
    return 0


def losses_table(report: Mapping[str, Any], folder: Path) -> Table:
    """The report's losses; the caption says where the rest is."""
    from rich import box
    from rich.table import Table

    title = "Held-out loss, nats a token, and the difference with its 95 % interval"
    table = Table(
        title=title,
        caption=f"more in {folder}/report.md",
        caption_justify="left",
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,
    )
    for name in ("side", "turns", "dialogues", "before", "after", "difference"):
        table.add_column(name, justify="left" if name in ("side", "turns") else "right", no_wrap=True)
    for side in report["sides"]:
        difference = side["difference"]
        table.add_row(
            side["side"],
            side["role"],
            f"{side['num_dialogues']:,}",
            f"{side['before']:.4f}",
            f"{side['after']:.4f}",
            f"{difference['mean']:+.4f} [{difference['low']:+.4f}, {difference['high']:+.4f}]",
        )
    return table
