"""What a person sees while a run is made: a live panel on a terminal, now and then a plain line elsewhere."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from platolm.cli.console import message_console, print_notice
from platolm.cli.dialogue import DialogueTail
from platolm.cli.rates import Speed, Speedometer, num_ended
from platolm.conversation import Message
from platolm.mirror import Watcher
from platolm.runs import RunProgress, RunState, TurnEvent

_PLAIN_INTERVAL_S = 10.0
_KEPT_DIALOGUES = 1024
_QUIET_DIALOGUE_S = 8.0
_MAX_PANEL_LINES = 24
_STATUS_LINES = 4
_REFRESH_INTERVAL_S = 0.25


class RunView(Watcher, Protocol):
    """A watcher that holds the terminal while it is entered."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def run_view(console: Console | None = None) -> RunView:
    """The view that suits the console: live where a person watches."""
    console = console or message_console()
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else PlainView(console)


class _View:
    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._speedometer = Speedometer()
        self._noticed_last = ""

    def notice(self, text: str) -> None:
        """Print it, once where several parts notice the same."""
        if text != self._noticed_last:
            print_notice(text, console=self._console)
        self._noticed_last = text


class PlainView(_View):
    """A line about every ten seconds, for logs and pipes."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._printed_at_s: float | None = None
        self._printed_last = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def turn(self, event: TurnEvent) -> None: ...

    def progress(self, progress: RunProgress) -> None:
        now = self._clock()
        speed = self._speedometer.add(progress, now)
        is_due = self._printed_at_s is None or now - self._printed_at_s >= _PLAIN_INTERVAL_S
        line = progress_line(progress, speed)
        if (is_due or progress.state.is_over) and line != self._printed_last:
            self._console.print(line, soft_wrap=True)
            self._printed_at_s = now
            self._printed_last = line


class LiveView(_View):
    """A dialogue as it grows, and below it a bar with counts and rates."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, clock)
        self._speed = Speed()
        self._progress: RunProgress | None = None
        self._dialogues = RecentDialogues()
        self._refreshed_at_s = 0.0
        self._live = Live(get_renderable=self._rendered, console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._progress is not None:
            self._console.print(progress_line(self._progress, self._speed), soft_wrap=True)

    def turn(self, event: TurnEvent) -> None:
        self._dialogues.add(event, self._clock())
        self._refresh()

    def progress(self, progress: RunProgress) -> None:
        self._progress = progress
        self._speed = self._speedometer.add(progress, self._clock())
        self._refresh()

    def _refresh(self) -> None:
        if self._clock() - self._refreshed_at_s >= _REFRESH_INTERVAL_S:
            self._refreshed_at_s = self._clock()
            self._live.refresh()

    def _rendered(self) -> RenderableType:
        if self._progress is None:
            return Text("waiting for the run to begin …", style="dim")
        parts: list[RenderableType] = []
        dialogue = self._dialogues.shown(self._clock())
        num_lines = min(self._console.height - _STATUS_LINES, _MAX_PANEL_LINES)
        if dialogue is not None and num_lines > _STATUS_LINES:
            parts.append(DialogueTail(dialogue.messages, title=dialogue.conversation_id, num_lines=num_lines))
        parts.append(_bar(self._progress, self._speed))
        parts.append(Text(endings_line(self._progress), style="dim"))
        return Group(*parts)


@dataclass
class Dialogue:
    """The utterances of one conversation that have come by."""

    conversation_id: str
    turns: dict[int, Message] = field(default_factory=dict)
    grown_at_s: float = 0.0

    @property
    def messages(self) -> list[Message]:
        return [self.turns[turn_index] for turn_index in sorted(self.turns)]


class RecentDialogues:
    """The dialogues that grew last, and which of them to show: one until it stays quiet, then the next."""

    def __init__(self) -> None:
        self._dialogues: OrderedDict[str, Dialogue] = OrderedDict()
        self._shown: Dialogue | None = None

    def add(self, event: TurnEvent, now_s: float) -> None:
        """Note an utterance."""
        dialogue = self._dialogues.setdefault(event.conversation_id, Dialogue(event.conversation_id))
        dialogue.turns[event.turn_index] = Message(event.role, event.content)
        dialogue.grown_at_s = now_s
        self._dialogues.move_to_end(event.conversation_id)
        if len(self._dialogues) > _KEPT_DIALOGUES:
            self._dialogues.popitem(last=False)

    def shown(self, now_s: float) -> Dialogue | None:
        """The dialogue to show now: the same until it is quiet, then one that grows, best one seen from its opening."""
        if self._shown is None or now_s - self._shown.grown_at_s > _QUIET_DIALOGUE_S:
            growing = [d for d in reversed(self._dialogues.values()) if now_s - d.grown_at_s <= _QUIET_DIALOGUE_S]
            from_opening = [dialogue for dialogue in growing if 0 in dialogue.turns]
            self._shown = next(iter([*from_opening, *growing]), self._shown)
        return self._shown


def progress_line(progress: RunProgress, speed: Speed) -> str:
    """How far a run is, on one line."""
    parts = [
        f"{num_ended(progress):,}/{progress.conversations:,} conversations",
        f"{speed.conversations_per_minute:,.1f}/min",
        f"{speed.tokens_per_s:,.0f} tokens/s",
    ]
    if progress.state is not RunState.COMPLETED:
        parts.append(_outlook(progress, speed))
    return " · ".join([*parts, endings_line(progress)]).removesuffix(" · ")


def endings_line(progress: RunProgress) -> str:
    """The endings so far, the most frequent first."""
    ordered = sorted(progress.terminations.items(), key=lambda item: -item[1])
    endings = [f"{reason} {count:,}" for reason, count in ordered if count]
    if progress.dead:
        endings.append(f"dead {progress.dead:,}")
    if progress.cancelled:
        endings.append(f"cancelled {progress.cancelled:,}")
    return ", ".join(endings)


def _outlook(progress: RunProgress, speed: Speed) -> str:
    """How long it will take; of a run that does not go on, its state."""
    return f"ETA {duration_text(speed.eta_s)}" if progress.state is RunState.RUNNING else progress.state


def duration_text(seconds: float | None) -> str:
    """`1:02:03`, `2:03`, or `-` where it is not known."""
    if seconds is None:
        return "-"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def _bar(progress: RunProgress, speed: Speed) -> Table:
    ended = num_ended(progress)
    row = Table.grid(padding=(0, 2))
    row.add_row(
        f"[bold]{ended:,}[/bold]/{progress.conversations:,} conversations",
        ProgressBar(total=progress.conversations, completed=ended, width=30),
        f"{speed.conversations_per_minute:,.1f}/min",
        f"{speed.tokens_per_s:,.0f} tokens/s",
        _outlook(progress, speed),
    )
    return row
