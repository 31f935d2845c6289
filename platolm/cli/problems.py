"""What is wrong with a run's spec, on stderr."""

from __future__ import annotations

from collections.abc import Sequence

from rich.text import Text

from platolm.cli.console import message_console, printable
from platolm.errors import SpecProblem

_MAX_SHOWN = 50


def print_problems(problems: Sequence[SpecProblem]) -> None:
    """A line each, and how many more there are; nothing for a single one, which the error itself names."""
    if len(problems) < 2:
        return
    console = message_console()
    for problem in problems[:_MAX_SHOWN]:
        console.print(Text(printable(str(problem))), soft_wrap=True)
    if len(problems) > _MAX_SHOWN:
        console.print(f"… and {len(problems) - _MAX_SHOWN} more", soft_wrap=True)
