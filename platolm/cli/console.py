"""Where commands print: results on stdout, everything else on stderr, an error as one line with its exit code."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from platolm.errors import BadLine, BadLinesError, InputError, OccupiedError, PlatoLMError, StackError

EXIT_FAILURE = 1
EXIT_MISUSE = 2
EXIT_INTERRUPTED = 130

_MAX_SHOWN_BAD_LINES = 20
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def output_console() -> Console:
    """For results: stdout."""
    return Console(highlight=False)


def message_console() -> Console:
    """For progress, notices and errors: stderr."""
    return Console(stderr=True, highlight=False)


def printable(text: str) -> str:
    """Text from a person or a model without what a terminal would take as a command."""
    return _CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def print_notice(text: str, *, console: Console | None = None) -> None:
    """One line on stderr that does not stop the command."""
    (console or message_console()).print(Text(printable(text), style="yellow"), soft_wrap=True)


def print_error(error: PlatoLMError) -> int:
    """Print an error as one line, with what belongs to it, and return the exit code."""
    console = message_console()
    if isinstance(error, BadLinesError):
        print_bad_lines(error.bad_lines)
    if isinstance(error, StackError):
        for line in error.log_tail:
            console.print(Text(printable(line), style="dim"), soft_wrap=True)
    console.print(Text.assemble(("error: ", "bold red"), printable(str(error))), soft_wrap=True)
    return EXIT_MISUSE if isinstance(error, InputError | OccupiedError) else EXIT_FAILURE


def print_bad_lines(bad_lines: Sequence[BadLine]) -> None:
    """The first broken lines with their reasons, and how many more there are."""
    console = message_console()
    for bad in bad_lines[:_MAX_SHOWN_BAD_LINES]:
        console.print(Text(printable(f"line {bad.number}: {bad.reason}")), soft_wrap=True)
    if len(bad_lines) > _MAX_SHOWN_BAD_LINES:
        console.print(f"… and {len(bad_lines) - _MAX_SHOWN_BAD_LINES} more", soft_wrap=True)
