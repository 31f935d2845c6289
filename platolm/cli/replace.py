"""`platolm replace`: other models for a stack that runs."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Annotated

import typer

from platolm.cli.console import message_console
from platolm.errors import InputError
from platolm.stack.control import ReplaceRequest, ServerName, ask_to_replace
from platolm.stack.settings import LocalStackSettings

REPLACE_EPILOG = """
**Examples**

- `platolm replace --simulator-model runs/socratic/model`: runs go on meanwhile

- `platolm replace --respondent-model runs/platolm/model --in-place`: where memory holds no third engine
"""


def replace(
    simulator_model: Annotated[
        str | None, typer.Option(help="The simulator's new model folder or hub name.", show_default=False)
    ] = None,
    respondent_model: Annotated[
        str | None, typer.Option(help="The respondent's new model folder or hub name.", show_default=False)
    ] = None,
    in_place: Annotated[
        bool, typer.Option("--in-place", help="Stop the old server before the new one starts: less memory, a pause.")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="The running stack's. [default: data]")] = None,
) -> None:
    """Have a running stack serve other models, without stopping it: addresses and runs in flight stay.

    The new server comes up beside the old one, which then ends what it has in flight. A model that does not come up
    changes nothing.
    """
    given: dict[ServerName, str | None] = {"simulator": simulator_model, "respondent": respondent_model}
    models = {name: _absolute(model) for name, model in given.items() if model is not None}
    if not models:
        raise InputError("which model? name it with --simulator-model or --respondent-model")
    folder = data_dir or LocalStackSettings().data_dir
    console, started = message_console(), time.monotonic()
    with console.status(f"replacing {' and '.join(models)} …"):
        asyncio.run(ask_to_replace(folder, ReplaceRequest(models=models, in_place=in_place)))
    for name, model in models.items():
        console.print(f"{name} serves {model} ({time.monotonic() - started:.0f} s)", markup=False, soft_wrap=True)


def _absolute(model: str) -> str:
    """The stack may run in another folder."""
    return os.path.abspath(model) if Path(model).is_dir() else model
