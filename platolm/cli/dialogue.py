"""A dialogue on a terminal: one colour a role, whole or as much of its end as fits."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.text import Text

from platolm.cli.console import printable
from platolm.conversation import ASSISTANT, USER, Message

_ROLE_STYLES = {USER: "cyan", ASSISTANT: "green"}
_FRAME_LINES = 2
_FRAME_COLUMNS = 4


def role_style(role: str) -> str:
    """A role's colour."""
    return _ROLE_STYLES.get(role, "magenta")


def message_text(message: Message) -> Text:
    """`role  content` with the role's colour."""
    style = role_style(message.role)
    return Text.assemble((f"{message.role:<9} ", f"bold {style}"), (printable(message.content.strip()), style))


def dialogue_panel(messages: Sequence[Message], *, title: str, subtitle: str = "") -> Panel:
    """A whole dialogue in a frame."""
    return _framed(Group(*(message_text(message) for message in messages)), title, subtitle)


class DialogueTail:
    """The end of a dialogue that grows, in a frame of fixed height."""

    def __init__(self, messages: Sequence[Message], *, title: str, num_lines: int) -> None:
        self._messages = messages
        self._title = title
        self._num_lines = max(num_lines - _FRAME_LINES, 1)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width = max(options.max_width - _FRAME_COLUMNS, 20)
        lines: list[Text] = []
        for message in reversed(self._messages):
            lines[:0] = message_text(message).wrap(console, width)
            if len(lines) >= self._num_lines:
                break
        shown = lines[-self._num_lines :]
        shown += [Text()] * (self._num_lines - len(shown))
        yield _framed(Group(*shown), self._title, "")


def _framed(content: Group, title: str, subtitle: str) -> Panel:
    return Panel(
        content,
        title=Text(title, style="bold"),
        title_align="left",
        subtitle=Text(subtitle) if subtitle else None,
        subtitle_align="right",
        border_style="dim",
    )
