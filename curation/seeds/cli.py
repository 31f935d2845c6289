"""`platolm seeds`: other people's questions as a file that runs start from."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from curation.seeds.sources import Kind
from platolm.cli.console import message_console

SEEDS_EPILOG = """
**Examples**

- `platolm seeds databricks-dolly-15k.jsonl --out dolly.jsonl --sample 10000 --stratify category --seed 125`: the
  paper's Dolly seeds: each category in proportion, the task named, its text joined to the question

- `platolm seeds WizardLM_evol_instruct_V2_143k.json --out wizard.jsonl --sample 10000`: Alpaca-born and unanswered
  entries are left out

- `platolm seeds sharegpt.json --out more.jsonl --sample 5000 --without-ids first.jsonl`: other openings than those of
  an earlier seed file

- `platolm seeds medical.json quora.json --kind baize --out baize.jsonl --sample 10000 --stratify file`: whole
  dialogues, to compare with

- `platolm run --seeds dolly.jsonl -n 10000`: start a run from them
"""


def seeds(
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Files or folders: JSON, JSON lines (.gz, .zst too), Parquet; of a .txt each line is a question.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="SEEDS.jsonl", help="File to write; one that is there is replaced.")],
    kind: Annotated[Kind, typer.Option(help="What the records are; auto tells by their fields.")] = Kind.AUTO,
    sample: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Draw so many at random. Default: all, in order.", show_default=False),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the draw.")] = 0,
    stratify: Annotated[
        str | None,
        typer.Option(
            metavar="FIELD",
            help="Draw from each value of this field in proportion; file: from each input file.",
            show_default=False,
        ),
    ] = None,
    without_ids: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Leave out the ids in it: an earlier seed file, or a .txt of ids. Give it again for more.",
            show_default=False,
        ),
    ] = None,
    keep_repeats: Annotated[
        bool, typer.Option("--keep-repeats", help="Keep a question that was asked before (but for case and space).")
    ] = False,
) -> None:
    """Make a seed file of instructions, openings or dialogues, each question once.

    Openings are lines with `question`, `answer` and `category`; of Baize and UltraChat the whole dialogues are kept.
    """
    from curation.seeds.making import Choice, make_seeds, read_used_ids

    used_ids = read_used_ids(without_ids or [])
    choice = Choice(kind, sample, seed, stratify, keep_repeats, used_ids)
    with _progress() as advance:
        report = make_seeds(sources, out, choice, on_record=advance)
    first, *rest = report.lines()
    message_console().print("\n".join([f"{out}: {first}", *rest]), markup=False, soft_wrap=True)


@contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    console = message_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("records", total=None)
        yield lambda: progress.advance(task)
