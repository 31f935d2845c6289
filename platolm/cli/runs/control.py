"""`platolm runs pause`, `resume`, `cancel` and `retry-dead`: steering a run."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from platolm.cli.api_access import ApiKeyOption, ApiOption, at_api
from platolm.cli.console import message_console, print_notice
from platolm.cli.runs.lookup import JsonOption, RunArgument, find_run
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.runs import RunProgress, RunState
from platolm.runs_api import RetriedDead


def pause(
    run: RunArgument, as_json: JsonOption = False, api: ApiOption = DEFAULT_API_URL, api_key: ApiKeyOption = None
) -> None:
    """Hand out nothing new of a run. What is in flight finishes its utterance; nothing is lost."""

    async def paused(client: OrchestratorClient) -> RunProgress:
        return await client.pause((await find_run(client, run)).id)

    _print_state(at_api(api, api_key, paused), as_json=as_json)


def resume(
    run: RunArgument,
    budget: Annotated[
        float | None,
        typer.Option(
            metavar="AMOUNT",
            help="What the run may spend on chat APIs from now on: in all, what is spent already included.",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Have a paused run go on, whoever paused it."""

    async def resumed(client: OrchestratorClient) -> RunProgress:
        return await client.resume((await find_run(client, run)).id, budget=budget)

    _print_state(at_api(api, api_key, resumed), as_json=as_json)


def cancel(
    run: RunArgument,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Give up what of a run is not finished, for good. The dataset keeps what is finished.

    Asks first where a person can answer.
    """

    async def cancelled(client: OrchestratorClient) -> RunProgress:
        progress = await find_run(client, run)
        if not yes and not progress.state.is_over:
            _confirm(progress)
        return await client.cancel(progress.id)

    _print_state(at_api(api, api_key, cancelled), as_json=as_json)


def retry_dead(
    run: RunArgument, as_json: JsonOption = False, api: ApiOption = DEFAULT_API_URL, api_key: ApiKeyOption = None
) -> None:
    """Hand the dead conversations of a run out again, each from its last turn on."""

    async def retried(client: OrchestratorClient) -> RetriedDead:
        return await client.retry_dead((await find_run(client, run)).id)

    answer = at_api(api, api_key, retried)
    if as_json:
        print(json.dumps(answer.model_dump(mode="json"), ensure_ascii=False))
    else:
        print_notice(f"{answer.run.id}: {answer.retried:,} dead conversations are tried again")
        _print_state(answer.run, as_json=False)


def _confirm(progress: RunProgress) -> None:
    """Ask a person; where none can answer, the command itself is the answer.

    Raises:
        typer.Abort: the answer is no.
    """
    if sys.stdin.isatty():
        unfinished = progress.conversations - progress.finished - progress.dead
        typer.confirm(f"Give up {unfinished:,} conversations of {progress.id}, for good?", abort=True, err=True)


def _print_state(run: RunProgress, *, as_json: bool) -> None:
    if as_json:
        print(run.model_dump_json())
        return
    message_console().print(f"{run.id} is {run.state}", soft_wrap=True)
    if run.state is RunState.PAUSED:
        print_notice(f"`platolm runs resume {run.id}` has it go on")
