"""How a talk is shown: token by token on a terminal, an utterance a line where output is piped, or as JSON lines."""

from __future__ import annotations

import json
from typing import Any

from rich.console import Console
from rich.text import Text

from platolm.cli.console import message_console, output_console, print_notice, printable
from platolm.cli.dialogue import role_style
from platolm.dialogues_api import TalkTurn

_INDENT = "\n  "


class Screen:
    """Results on stdout, everything else on stderr. `echo`: the person's own words are shown too."""

    def __init__(self, *, as_json: bool, echo: bool) -> None:
        self._console = output_console()
        self._messages = message_console()
        self._as_json = as_json
        self._echo = echo
        self._is_open = False

    @property
    def _streams(self) -> bool:
        return self._console.is_terminal and not self._as_json

    def begin(self, number: int, role: str) -> None:
        """An utterance is asked for."""
        if self._streams:
            self._label(number, role)
            self._is_open = False

    def token(self, role: str, text: str) -> None:
        """More of it."""
        if not self._streams:
            return
        shown = printable(text if self._is_open else text.lstrip())
        self._is_open = self._is_open or bool(shown)
        self._console.print(Text(shown, style=role_style(role)), end="", soft_wrap=True)

    def again(self, number: int, role: str) -> None:
        """What was shown of it does not count."""
        if self._streams:
            self._console.print(Text(" (made again)", style="dim"))
            self.begin(number, role)

    def end(self, number: int, turn: TalkTurn) -> None:
        """It is complete, or was stopped."""
        if self._streams:
            self._console.print(Text(f"  ({_told(turn)})", style="dim"), soft_wrap=True)
        else:
            self._line(number, turn)

    def broken_off(self) -> None:
        """It came to nothing."""
        if self._streams:
            self._console.print()

    def said(self, number: int, turn: TalkTurn) -> None:
        """A person's turn."""
        if self._echo:
            self.given(number, turn)

    def given(self, number: int, turn: TalkTurn) -> None:
        """A turn that was there before the talk began."""
        if self._streams:
            self._label(number, turn.role)
            self._console.print(Text(printable(turn.content), style=role_style(turn.role)), soft_wrap=True)
        else:
            self._line(number, turn)

    def ended(self, reason: str) -> None:
        """A rule ended the talk."""
        if self._as_json:
            self._json({"termination_reason": reason})
        else:
            self.note(f"the talk ended: {reason}")

    def note(self, text: str) -> None:
        """A line that is no part of the talk."""
        self._messages.print(Text(printable(text), style="dim"), soft_wrap=True)

    def warn(self, text: str) -> None:
        """A line that is worth seeing."""
        print_notice(text, console=self._messages)

    def _label(self, number: int, role: str) -> None:
        self._console.print(Text(f"{number:>3} {role:<9} ", style=f"bold {role_style(role)}"), end="")

    def _line(self, number: int, turn: TalkTurn) -> None:
        if self._as_json:
            self._json({"turn": number, **turn.model_dump(exclude_none=True)})
        else:
            text = printable(turn.content.strip()).replace("\n", _INDENT)
            self._console.print(Text(f"{turn.role}: {text}"), soft_wrap=True)

    def _json(self, fields: dict[str, Any]) -> None:
        Console.out(self._console, json.dumps(fields, ensure_ascii=False), highlight=False)


def _told(turn: TalkTurn) -> str:
    """What is known of an utterance, in a few words."""
    if turn.finish_reason == "stopped":
        return "stopped"
    cut = {"length": ", cut at the most tokens", "context": ", cut by the context"}.get(turn.finish_reason, "")
    return f"{turn.num_tokens} tokens, {turn.duration_s:.1f} s{cut}"
