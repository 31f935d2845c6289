"""`platolm runs list` and `show`: which runs there are, and how far one is."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from platolm.cli.api_access import ApiKeyOption, ApiOption, at_api
from platolm.cli.console import output_console, print_notice
from platolm.cli.runs.lookup import JsonOption, RunArgument, find_run
from platolm.cli.runs.tables import run_table, runs_table
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.runs import RunProgress, RunState
from platolm.spec_text import spec_json, spec_yaml


def list_runs(
    state: Annotated[RunState | None, typer.Option(help="Only the runs in this state.", show_default=False)] = None,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """List the runs, the newest first."""

    async def listed(client: OrchestratorClient) -> list[RunProgress]:
        return await client.runs()

    runs = [run for run in at_api(api, api_key, listed) if state in (None, run.state)]
    if as_json:
        print(json.dumps({"runs": [run.model_dump(mode="json") for run in runs]}, ensure_ascii=False))
    elif runs:
        output_console().print(runs_table(runs))
    else:
        print_notice("no runs; `platolm runs submit` begins one")


def show(
    run: RunArgument,
    spec: Annotated[bool, typer.Option("--spec", help="Print the run's spec, as a spec file.")] = False,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Show how far a run is."""
    progress = at_api(api, api_key, lambda client: find_run(client, run))
    if spec:
        print(json.dumps(spec_json(progress.spec)) + "\n" if as_json else spec_yaml(progress.spec), end="")
    elif as_json:
        print(progress.model_dump_json())
    else:
        output_console().print(run_table(progress))
