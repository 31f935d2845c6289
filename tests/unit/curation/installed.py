"""`platolm` with the commands of the data tools, in an environment that was installed before they were."""

from __future__ import annotations

from curation.cli import register
from platolm.cli.app import app
from platolm.cli.app import main as platolm

if "clean" not in {command.name for command in app.registered_commands}:
    register(app)


def main() -> None:
    """The command line's entry point."""
    platolm()


if __name__ == "__main__":
    main()
