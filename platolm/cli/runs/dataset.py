"""`platolm runs dataset`: a run's dataset as one file."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import DownloadColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn, TransferSpeedColumn

from platolm.browse_api import MarkFilter
from platolm.cli.api_access import ApiKeyOption, ApiOption, at_api
from platolm.cli.console import message_console, print_notice
from platolm.cli.runs.lookup import RunArgument, find_run
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.runs import RunProgress
from platolm.runs_api import DatasetFormat
from platolm.storage import open_atomically


def dataset(
    run: RunArgument,
    form: Annotated[
        DatasetFormat,
        typer.Option("--format", help="ShareGPT records, OpenAI messages, or the records as Parquet."),
    ] = DatasetFormat.SHAREGPT,
    mark: Annotated[
        MarkFilter | None,
        typer.Option(help="Only conversations that somebody marked so in the dashboard.", show_default=False),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Where to write it. Default: RUN.sharegpt.jsonl or alike.", show_default=False
        ),
    ] = None,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Fetch what is committed of a run so far, as one file in the order of commitment.

    The file appears whole or not at all; one that is there is replaced. `platolm run` keeps a folder instead that can
    be fetched bit by bit.
    """

    async def fetched(client: OrchestratorClient) -> Path:
        progress = await find_run(client, run)
        path = out or Path(progress.id + form.suffix)
        _say_what_is_missing(progress)
        await download(client, progress.id, form, path, mark)
        return path

    print(at_api(api, api_key, fetched))


async def download(
    client: OrchestratorClient, run_id: str, form: DatasetFormat, path: Path, mark: MarkFilter | None = None
) -> None:
    """Write the stream to a file that appears when it is whole.

    Raises:
        ApiError: the API refuses, or the stream was cut short.
        OutputError: the file cannot be written.
    """
    console = message_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), DownloadColumn(), TransferSpeedColumn())
    progress = Progress(*columns, TimeElapsedColumn(), console=console, transient=True, disable=not console.is_terminal)
    with open_atomically(path) as file, progress:
        task = progress.add_task(path.name, total=None)
        async with aclosing(client.dataset(run_id, form, mark)) as chunks:
            async for chunk in chunks:
                file.write(chunk)
                progress.advance(task, len(chunk))


def _say_what_is_missing(progress: RunProgress) -> None:
    if progress.committed < progress.conversations:
        share = f"{progress.committed:,} of {progress.conversations:,} conversations"
        print_notice(f"{progress.id} is {progress.state}: {share} are in its dataset")
