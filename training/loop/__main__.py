"""`python -m training.loop`: the same as `platolm loop`."""

from __future__ import annotations

import sys

from platolm.cli.console import print_error
from platolm.errors import PlatoLMError
from training.loop.cli import register

if __name__ == "__main__":
    import typer

    app = typer.Typer(rich_markup_mode="markdown", pretty_exceptions_enable=False, add_completion=False)
    register(app)
    try:
        app()
    except PlatoLMError as error:
        sys.exit(print_error(error))
