"""The `platolm` command: its options, its commands, and how an error becomes a line and an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from platolm import __version__
from platolm.cli.chat.app import CHAT_EPILOG, chat
from platolm.cli.compose.app import compose_app
from platolm.cli.console import print_error
from platolm.cli.demo import DEMO_EPILOG, demo
from platolm.cli.plugins import add_plugins
from platolm.cli.problems import print_problems
from platolm.cli.replace import REPLACE_EPILOG, replace
from platolm.cli.run import RUN_EPILOG, run
from platolm.cli.runs.app import runs_app
from platolm.cli.size import SIZE_EPILOG, size
from platolm.cli.tokenize import TOKENIZE_EPILOG, tokenize
from platolm.cli.up import UP_EPILOG, up
from platolm.errors import PlatoLMError, SpecError

app = typer.Typer(
    name="platolm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command(epilog=DEMO_EPILOG)(demo)
app.command(epilog=UP_EPILOG)(up)
app.command(epilog=REPLACE_EPILOG)(replace)
app.command(epilog=RUN_EPILOG)(run)
app.command(epilog=CHAT_EPILOG)(chat)
app.add_typer(runs_app)
app.add_typer(compose_app)
app.command(epilog=SIZE_EPILOG)(size)
app.command(epilog=TOKENIZE_EPILOG)(tokenize)
add_plugins(app)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"platolm {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version, and stop.")
    ] = False,
) -> None:
    """User simulators and respondents on vLLM, and the multi-round dialogues between them."""


def main() -> None:
    """Entry point: run a command; an error of ours is one line and an exit code, never a traceback."""
    try:
        app()
    except PlatoLMError as error:
        if isinstance(error, SpecError):
            print_problems(error.problems)
        sys.exit(print_error(error))
