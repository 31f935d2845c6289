"""Where a person's lines come from: the terminal with its line editing, or a pipe."""

from __future__ import annotations

import contextlib
import sys

from platolm.errors import InputError


class Lines:
    """One line at a time."""

    def __init__(self) -> None:
        self.are_typed = sys.stdin.isatty()
        if self.are_typed:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401  gives `input` a history and keys to edit with

    def read(self, prompt: str) -> str | None:
        """The next line; None: that was the last.

        Raises:
            InputError: it is not UTF-8.
            KeyboardInterrupt: Ctrl-C.
        """
        try:
            if not self.are_typed:
                line = sys.stdin.readline()
                return line.removesuffix("\n") if line else None
            if sys.stdout.isatty():
                return input(prompt)
            print(prompt, end="", file=sys.stderr, flush=True)
            return input()
        except EOFError:
            return None
        except UnicodeDecodeError as error:
            raise InputError(f"the input is not UTF-8: {error.reason}") from error
