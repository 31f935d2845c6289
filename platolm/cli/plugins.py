"""Commands that other packages add: entry points of the group `platolm.commands`, functions that take the application.

A package declares, in its pyproject.toml,

    [project.entry-points."platolm.commands"]
    train = "training.cli:register"

and `register(app)` adds its commands. It is called for `platolm --help` too: heavy imports belong into the commands.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

import typer

from platolm.cli.console import print_notice

COMMANDS_GROUP = "platolm.commands"


def add_plugins(app: typer.Typer, plugins: Iterable[EntryPoint] | None = None) -> None:
    """Let each plugin add its commands, in the order of their names; a broken one is a notice, and the rest work.

    Args:
        app: what to add to.
        plugins: instead of the installed ones.
    """
    found = entry_points(group=COMMANDS_GROUP) if plugins is None else plugins
    for plugin in sorted(found, key=lambda one: one.name):
        try:
            plugin.load()(app)
        except Exception as error:  # whatever another package does wrong must not take our own commands away
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            print_notice(f"the command {plugin.name} is left out, its plugin {plugin.value} is broken ({reason})")
