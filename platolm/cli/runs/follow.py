"""`platolm runs follow`: watch a run."""

from __future__ import annotations

import typer

from platolm import mirror
from platolm.cli.api_access import ApiKeyOption, ApiOption, GiveUpAfterOption, at_api
from platolm.cli.console import EXIT_FAILURE, EXIT_INTERRUPTED, output_console, print_notice
from platolm.cli.live import run_view
from platolm.cli.runs.lookup import JsonOption, RunArgument, find_run
from platolm.cli.runs.tables import run_table
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.mirror import DEFAULT_GIVE_UP_AFTER_S
from platolm.runs import RunProgress, RunState


def follow(
    run: RunArgument,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
    give_up_after: GiveUpAfterOption = DEFAULT_GIVE_UP_AFTER_S,
) -> None:
    """Watch a run until it is over: dialogues, rates, endings. Ctrl-C stops watching, not the run.

    The exit code is 1 where conversations are dead or were cancelled.
    """

    async def followed(client: OrchestratorClient) -> RunProgress:
        progress = await find_run(client, run)
        with run_view() as view:
            return await mirror.follow(client, progress, view, give_up_after_s=give_up_after)

    try:
        progress = at_api(api, api_key, followed)
    except KeyboardInterrupt:
        print_notice(f"stopped watching; the run goes on at {api}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    if as_json:
        print(progress.model_dump_json())
    else:
        output_console().print(run_table(progress))
    if progress.state is not RunState.COMPLETED or progress.dead:
        raise typer.Exit(EXIT_FAILURE)
