"""`platolm stats`: what a dataset is like, beside what others published and beside other datasets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from platolm.cli.console import message_console, output_console, printable

if TYPE_CHECKING:
    from curation.stats.embeddings import Embedder
    from curation.stats.figures import Statistics
    from curation.stats.human import Classifier
    from curation.stats.judge import JudgeSettings
    from curation.stats.sampled import OnProgress

JUDGE_KEY_ENV = "PLATOLM_JUDGE_API_KEY"
EMBEDDINGS_KEY_ENV = "PLATOLM_EMBEDDINGS_API_KEY"
_MODELS = "What needs a model"

STATS_EPILOG = """
**Examples**

- `platolm stats runs/mine`: rounds, tokens, lexical and topic diversity, repeats, role slips, with 95 % intervals

- `platolm stats runs/mine --against sharegpt.jsonl --html stats.html`: beside people's conversations, as a page

- `platolm stats data/*.jsonl --tokenizer models/demo/base --json stats.json`: records that carry no token counts

- `platolm stats runs/mine --judge http://gpu0:8000/v1 --judge-price 2.5 10`: the paper's four criteria, and their cost

- `platolm stats runs/mine --human-classifier detectors/roberta`: the share of questions that a transformers model takes
  for a person's; `mymodule:probabilities` asks a function of yours instead

- `platolm stats runs/mine --embeddings none`: counts only, thousands of conversations a second

What a model or pairs of conversations decide is measured on a sample, the same for the same data and `--seed`.
Judgments are kept in a file: the same command asks for none again. Keys come from PLATOLM_JUDGE_API_KEY and
PLATOLM_EMBEDDINGS_API_KEY.
"""


def stats(
    dataset: Annotated[
        list[str],
        typer.Argument(
            help="Files or folders of one dataset: any form that `platolm clean` reads, or a run's folder or its URL "
            "(s3://bucket/run)."
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="PATH", help="Another dataset beside it; again for more.", show_default=False),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write everything as JSON.", show_default=False)
    ] = None,
    html_file: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page with plots, in one file.", show_default=False),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Model folder or hub name whose tokens are counted. Default: the counts that a run's records carry.",
            show_default=False,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--from", metavar="FORM", help="Force sharegpt, openai, wildchat or oasst.", show_default=False),
    ] = None,
    sample: Annotated[
        int, typer.Option(min=2, metavar="N", help="Conversations in the sample for pairs and models.")
    ] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Of the sample and the intervals.")] = 125,
    processes: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Processes that count. Default: one a core.", show_default=False),
    ] = None,
    embeddings: Annotated[
        str,
        typer.Option(
            metavar="MODEL",
            help="auto (all-MiniLM-L6-v2 where its package is installed), none, a sentence-transformers model by name "
            "or folder, or the address of an OpenAI-compatible server.",
            rich_help_panel=_MODELS,
        ),
    ] = "auto",
    embeddings_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="The server's model.", show_default=False, rich_help_panel=_MODELS),
    ] = None,
    embeddings_api_key: Annotated[
        str | None,
        typer.Option(
            envvar=EMBEDDINGS_KEY_ENV, show_envvar=False, show_default=False, help="Its key.", rich_help_panel=_MODELS
        ),
    ] = None,
    human_classifier: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Folder of a transformers classifier, or module:function from texts to the probabilities that a "
            "person wrote them.",
            show_default=False,
            rich_help_panel=_MODELS,
        ),
    ] = None,
    human_label: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="The folder's label of a person, if it is not human or real.",
            show_default=False,
            rich_help_panel=_MODELS,
        ),
    ] = None,
    judge: Annotated[
        str | None,
        typer.Option(
            metavar="ENDPOINT",
            help="OpenAI-compatible server that scores conversations 1-10.",
            show_default=False,
            rich_help_panel=_MODELS,
        ),
    ] = None,
    judge_model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Default: the only one served.", show_default=False, rich_help_panel=_MODELS),
    ] = None,
    judge_api_key: Annotated[
        str | None,
        typer.Option(
            envvar=JUDGE_KEY_ENV, show_envvar=False, show_default=False, help="Its key.", rich_help_panel=_MODELS
        ),
    ] = None,
    judge_price: Annotated[
        tuple[float, float] | None,
        typer.Option(
            metavar="IN OUT", help="Price of a million tokens, in and out.", show_default=False, rich_help_panel=_MODELS
        ),
    ] = None,
    judge_sample: Annotated[
        int, typer.Option(min=1, metavar="N", help="Conversations that are judged.", rich_help_panel=_MODELS)
    ] = 100,
    judge_concurrency: Annotated[
        int, typer.Option(min=1, metavar="N", help="Requests at a time.", rich_help_panel=_MODELS)
    ] = 8,
    judgments: Annotated[
        Path, typer.Option(metavar="FILE", help="Where judgments are kept.", rich_help_panel=_MODELS)
    ] = Path("judgments.jsonl"),
) -> None:
    """Measure a dataset: the paper's table and what tells a simulated user from a person, with 95 % intervals.

    Memory does not grow with the number of conversations.
    """
    from curation.reading.fetched import on_disk
    from curation.stats.measuring import StatsSettings, beside, measure
    from curation.stats.sampled import Raters

    raters = Raters(
        embedder=_embedder(embeddings, embeddings_model, embeddings_api_key),
        classifier=_classifier(human_classifier, human_label),
        classifier_name=human_classifier or "",
        judge=_judge(judge, judge_model, judge_api_key, judge_concurrency, judge_sample, judge_price, judgments),
    )
    settings = StatsSettings(tokenizer, seed, sample, processes, form, raters)
    wanted = [dataset, *([path] for path in against or [])]
    datasets = []
    for sources, name in zip(wanted, _names(wanted), strict=True):
        with on_disk(sources) as paths, _progress(name) as on_progress:
            measured = measure(paths, settings, name=name, on_progress=on_progress)
            measured.statistics.paths = sources  # as they were given, not where they were copied to
            datasets.append(measured)
    first, *others = datasets
    _give([beside(first, others), *(other.statistics for other in others)], json_file, html_file)


def _names(wanted: Sequence[Sequence[str]]) -> list[str]:
    """The files' and folders' own names where these tell the datasets apart, else their whole paths."""
    names = [", ".join(Path(source).name or source for source in sources) for sources in wanted]
    if len(set(names)) < len(names):
        names = [", ".join(sources) for sources in wanted]
    return [printable(name) for name in names]


def _embedder(source: str, model: str | None, api_key: str | None) -> Embedder | None:
    from curation.stats.embeddings import embedder_of

    return embedder_of(source, model=model, api_key=api_key)


def _classifier(name: str | None, human_label: str | None) -> Classifier | None:
    from curation.stats.human import load_classifier

    return None if name is None else load_classifier(name, human_label)


def _judge(
    url: str | None,
    model: str | None,
    api_key: str | None,
    concurrency: int,
    conversations: int,
    price: tuple[float, float] | None,
    judgments: Path,
) -> JudgeSettings | None:
    if url is None:
        return None
    from curation.evaluation.endpoint import EndpointSettings
    from curation.evaluation.report import Price
    from curation.stats.judge import JudgeSettings

    key_from = f"--judge-api-key or {JUDGE_KEY_ENV}"
    endpoint = EndpointSettings("judge", url, key_from, api_key, model, concurrency=concurrency)
    return JudgeSettings(endpoint, judgments, conversations, None if price is None else Price(*price))


def _give(all_statistics: Sequence[Statistics], json_file: Path | None, html_file: Path | None) -> None:
    from curation.stats.page import page_of
    from curation.stats.table import measure_table, notes_of, size_table, threshold_table
    from platolm.storage import write_atomically

    if json_file is not None:
        write_atomically(json_file, as_json(all_statistics))
    if html_file is not None:
        write_atomically(html_file, page_of(all_statistics).encode("utf-8", "replace"))
    console = output_console()
    console.print(size_table(all_statistics))
    console.print(measure_table(all_statistics))
    for statistics in all_statistics:
        if (thresholds := threshold_table(statistics)) is not None:
            console.print(thresholds)
        for note in notes_of(statistics):
            console.print(printable(f"{statistics.name}: {note}"), markup=False, soft_wrap=True)


def as_json(all_statistics: Sequence[Statistics]) -> bytes:
    """The dataset's statistics, those of the others, and what was published."""
    import json
    from dataclasses import asdict

    from curation.stats.published import PLATOLM_SETS, USERS

    dumped = [statistics.model_dump(mode="json") for statistics in all_statistics]
    content = {
        "dataset": dumped[0],
        "against": dumped[1:],
        "published": [asdict(one) for one in (*PLATOLM_SETS, *USERS)],
    }
    return json.dumps(content, ensure_ascii=False, allow_nan=False, indent=2).encode("utf-8", "replace") + b"\n"


@contextmanager
def _progress(name: str) -> Iterator[OnProgress]:
    """How far one is, on a terminal only."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = message_console()
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[number]:,} {task.fields[what]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        bar = bars.add_task(name, total=1, what="conversations", number=0)
        yield lambda what, number, share: bars.update(bar, completed=share, what=what, number=number)
