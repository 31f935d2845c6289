"""`platolm export`: a dataset as a folder that others load as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from curation.export.split import DEFAULT_SEED
from platolm.browse_api import MarkFilter
from platolm.cli.console import message_console, print_notice
from platolm.conversation import TerminationReason
from platolm.runs_api import DatasetFormat

if TYPE_CHECKING:
    from curation.export.card import MeasuredLine

EXPORT_EPILOG = """
**Examples**

- `platolm export runs/mine --out mine --test-share 0.05`: a run as ShareGPT, with a card and a test split

- `platolm export runs/a runs/b --format parquet --out both --min-rounds 2 --ending turn_limit --ending context_full`:
  two runs, only conversations of two rounds and more that went on to a limit

- `platolm export runs/mine --mark good --out good --licence cc-by-4.0 --push-to-hub me/good-talks`: what somebody
  marked as good, onto the Hugging Face hub (`hf auth login` first)

**Loading it**

- `datasets.load_dataset("mine")`; LLaMA-Factory: `dataset_dir: mine`, `dataset: mine`; FastChat:
  `--data_path mine/data/train.json`; here: `platolm train platolm_7b --data mine/data/train.json`
"""


def export(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="DATASET...",
            help="Folders of runs, at URLs (s3://bucket/run) too, files or folders of dialogues: whatever "
            "`platolm clean` and `platolm stats` read.",
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to make; one that holds something is refused.")],
    form: Annotated[
        DatasetFormat,
        typer.Option("--format", help="ShareGPT as a JSON list, OpenAI messages as JSON lines, or Parquet."),
    ] = DatasetFormat.SHAREGPT,
    lines: Annotated[
        bool,
        typer.Option("--lines", help="ShareGPT as JSON lines: read bit by bit by everybody but FastChat."),
    ] = False,
    min_rounds: Annotated[int, typer.Option(min=0, metavar="N", help="Only conversations of so many rounds.")] = 0,
    ending: Annotated[
        list[TerminationReason] | None,
        typer.Option(help="Only conversations that ended so. Give it again for more.", show_default=False),
    ] = None,
    mark: Annotated[
        MarkFilter | None,
        typer.Option(help="Only conversations that somebody marked so in the dashboard.", show_default=False),
    ] = None,
    keep_irregular: Annotated[
        bool,
        typer.Option(
            "--keep-irregular",
            help="Keep what other trainers refuse: other roles, two turns of one role, a last question without answer.",
        ),
    ] = False,
    test_share: Annotated[
        float, typer.Option(min=0, max=1, metavar="SHARE", help="About so much for a test split, by the opening.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(metavar="S", help="Of the split.")] = DEFAULT_SEED,
    title: Annotated[str, typer.Option(metavar="TEXT", help="Of the card. Default: the folder's name.")] = "",
    licence: Annotated[
        str, typer.Option("--licence", "--license", metavar="ID", help="As the hub names it: cc-by-4.0, apache-2.0, …")
    ] = "",
    language: Annotated[
        list[str] | None,
        typer.Option(metavar="CODE", help="For the card: en, de, … Give it again for more.", show_default=False),
    ] = None,
    statistics: Annotated[
        bool, typer.Option("--statistics/--no-statistics", help="Whether the card gets what `platolm stats` measures.")
    ] = True,
    push_to_hub: Annotated[
        str | None,
        typer.Option(metavar="OWNER/NAME", help="Upload the folder as a dataset of the hub.", show_default=False),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="Let a new repository be seen by everybody.")] = False,
) -> None:
    """Hand a dataset on: a folder with its card, a train and a test file, that other tools load as it is.

    It loads in `datasets`, LLaMA-Factory, FastChat and `platolm train`. Dialogues that some of them refuse are left out
    and counted.
    """
    from curation.export.filters import Filters
    from curation.export.hub import check_repository, push
    from curation.export.writing import Wanted, export_dataset
    from curation.reading.fetched import on_disk

    if push_to_hub is not None:
        check_repository(push_to_hub)
    filters = Filters(min_rounds, frozenset(ending or ()), mark)
    wanted = Wanted(
        form, lines, keep_irregular, filters, test_share, seed, title, licence, tuple(language or ())
    )  # fmt: skip
    with on_disk(sources) as paths, _progress() as advance:
        report = export_dataset(paths, out, wanted, measure=measured if statistics else None, on_record=advance)
    first, *rest = report.lines()
    message_console().print("\n".join([f"{out}: {first}", *rest]), markup=False, soft_wrap=True)
    if push_to_hub is not None:
        if not licence:
            print_notice("no licence is named: --licence ID puts one on the card")
        print(push(out, push_to_hub, public=public, show_progress=message_console().is_terminal))


def measured(files: Sequence[Path]) -> list[MeasuredLine]:
    """What `platolm stats` measures of these files without models, for the card; nothing where its packages lack."""
    from curation.export.card import MeasuredLine

    try:
        from curation.stats.measures import MEASURES
        from curation.stats.measuring import StatsSettings, statistics_of
    except ImportError as error:
        print_notice(f"the card has counts alone: {error.name} is not installed")
        return []
    figures = statistics_of(files, StatsSettings(processes=1)).figures
    lines = []
    for measure in MEASURES:
        figure = figures.get(measure.key)
        if figure is None or figure.value is None:
            continue
        has_interval = figure.low is not None and figure.high is not None
        interval = f"{figure.low:,.{measure.places}f} to {figure.high:,.{measure.places}f}" if has_interval else ""
        lines.append(MeasuredLine(measure.title, f"{figure.value:,.{measure.places}f}", interval))
    return lines


@contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    console = message_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("conversations", total=None)
        yield lambda: progress.advance(task)
