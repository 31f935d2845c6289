"""`platolm runs submit`: begin a run and leave it to the orchestrator."""

from __future__ import annotations

import uuid
from typing import Annotated

import typer

from platolm.cli.api_access import ApiKeyOption, ApiOption, at_api
from platolm.cli.console import print_notice
from platolm.cli.run_options import (
    ConversationsOption,
    FromTurnOption,
    NameOption,
    SeedModeOption,
    SeedsOption,
    SkipBadOption,
    SpecArgument,
)
from platolm.cli.run_request import compose, say_what_differs
from platolm.cli.runs.lookup import JsonOption
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.runs import RunProgress


def submit(
    spec: SpecArgument = None,
    seeds: SeedsOption = None,
    conversations: ConversationsOption = None,
    seed_mode: SeedModeOption = None,
    from_turn: FromTurnOption = None,
    name: NameOption = None,
    skip_bad: SkipBadOption = False,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Idempotency key: the same key and run, given again, find the run that exists.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Begin a run and leave it to the orchestrator; its id is printed.

    Unlike `platolm run` nothing is brought home: see `platolm runs follow` and `platolm runs dataset`.
    """
    mode = None if seed_mode is None else seed_mode.value
    values = {"conversations": conversations, "name": name, "seed_mode": mode, "from_turn": from_turn}
    composed = compose(spec, values, seeds=seeds, skip_bad=skip_bad)
    say_what_differs(composed)

    async def submitted(client: OrchestratorClient) -> RunProgress:
        return await client.submit(composed.request, idempotency_key=key or uuid.uuid4().hex)

    run = at_api(api, api_key, submitted)
    if run.cost_estimate is not None:
        print_notice(f"chat APIs are likely to cost {run.cost_estimate.explained()}")
    for warning in run.warnings:
        print_notice(warning)
    print(run.model_dump_json() if as_json else run.id)
