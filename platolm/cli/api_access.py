"""How a command reaches the orchestrator's API: its address and key, and what is said where nothing answers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

import typer

from platolm.client import OrchestratorClient
from platolm.errors import ApiError

ResultT = TypeVar("ResultT")

_PANEL = "The orchestrator"

ApiOption = Annotated[
    str,
    typer.Option(
        envvar="PLATOLM_API_URL", metavar="URL", help="Address of the orchestrator's API.", rich_help_panel=_PANEL
    ),
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        envvar="PLATOLM_API_KEY",
        metavar="KEY",
        help="Key of the API, where it wants one. Better in the environment: other people of this machine can read a "
        "command line.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
GiveUpAfterOption = Annotated[
    float,
    typer.Option(
        min=0, metavar="S", help="Seconds without an answer of the API after which to stop.", rich_help_panel=_PANEL
    ),
]


def at_api(api: str, api_key: str | None, work: Callable[[OrchestratorClient], Awaitable[ResultT]]) -> ResultT:
    """What `work` gives with a client of the API.

    Raises:
        ApiError: the API does not answer, or refuses.
    """

    async def worked() -> ResultT:
        async with OrchestratorClient(api, api_key=api_key) as client:
            return await work(client)

    try:
        return asyncio.run(worked())
    except ApiError as error:
        raise with_advice(error) from error


def with_advice(error: ApiError) -> ApiError:
    """The error, with what to do where nothing answers at the address."""
    if error.status is not None or not error.retryable:
        return error
    advice = f"{error}: start it with `platolm up`, or name another with --api"
    return ApiError(advice, status=error.status, retryable=error.retryable)
