"""The commands of the data tools: `clean`, `stats`, `export`, `seeds`, `eval`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import typer

from platolm.errors import PlatoLMError

INSTALL = "pip install 'platolm-stack[data]'"
_OURS = frozenset({"curation", "platolm", "training", "services"})

Parameters = ParamSpec("Parameters")


def register(app: typer.Typer) -> None:
    """Add the commands to the application; an entry point of `platolm.commands`."""
    from curation.clean.cli import CLEAN_EPILOG, clean
    from curation.evaluation.cli import EVAL_EPILOG, evaluate_command
    from curation.export.cli import EXPORT_EPILOG, export
    from curation.seeds.cli import SEEDS_EPILOG, seeds
    from curation.stats.cli import STATS_EPILOG, stats

    app.command("clean", epilog=CLEAN_EPILOG)(saying_what_to_install(clean))
    app.command("stats", epilog=STATS_EPILOG)(saying_what_to_install(stats))
    app.command("export", epilog=EXPORT_EPILOG)(saying_what_to_install(export))
    app.command("seeds", epilog=SEEDS_EPILOG)(saying_what_to_install(seeds))
    app.command("eval", epilog=EVAL_EPILOG)(saying_what_to_install(evaluate_command))


def saying_what_to_install(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """The command, which says what to install where a library of the data tools is missing.

    Raises:
        PlatoLMError: instead of the import error.
    """

    @wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if not package or package in _OURS:
                raise
            raise PlatoLMError(f"the package {package} is not installed: {INSTALL}") from error

    return run
