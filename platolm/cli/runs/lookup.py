"""Which run a person means."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from platolm.client import OrchestratorClient
from platolm.errors import ApiError, InputError
from platolm.runs import RunProgress

RunArgument = Annotated[
    str, typer.Argument(metavar="RUN", help="The run's id, or as much of its beginning as names no other.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for a script.")]

_ID_PREFIX = "run-"
_MAX_NAMED = 5
_ID = re.compile(r"[a-z0-9][a-z0-9-]*")
_NO_SUCH_RUN = (404, 422)


async def find_run(client: OrchestratorClient, name: str) -> RunProgress:
    """The run of this id, or the only one whose id begins so, with or without its `run-`.

    Raises:
        InputError: there is none, or there are several.
        ApiError: the API does not answer.
    """
    if not _ID.fullmatch(name):
        raise InputError(f"{name!r} is no id of a run; `platolm runs list` names them")
    try:
        return await client.run(name)
    except ApiError as error:
        if error.status not in _NO_SUCH_RUN:
            raise
    return the_only(name, await client.runs())


def the_only(name: str, runs: list[RunProgress]) -> RunProgress:
    """The only run whose id begins with `name`.

    Raises:
        InputError: there is none, or there are several.
    """
    found = [run for run in runs if run.id.startswith((name, _ID_PREFIX + name))]
    if not found:
        raise InputError(f"no run's id begins with {name}; `platolm runs list` names them")
    if len(found) > 1:
        named = ", ".join(run.id for run in found[:_MAX_NAMED]) + (", …" if len(found) > _MAX_NAMED else "")
        raise InputError(f"{len(found)} runs begin with {name}: {named}; write more of the id")
    return found[0]
