"""A training on a terminal: a bar with its figures, a line for each evaluation; in a pipe a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from platolm.cli.console import message_console
from platolm.cli.live import duration_text

_PLAIN_INTERVAL_S = 5.0
_REFRESH_INTERVAL_S = 0.25
_BAR_WIDTH = 30


@dataclass
class Figures:
    """Where a training stands. What is not known yet is None; losses in nats a token, `mfu` from 0 to 1."""

    step: int = 0
    num_steps: int = 0
    epoch: float = 0.0
    loss: float | None = None
    held_out: float | None = None
    best: float | None = None
    best_step: int | None = None
    tokens_per_s: float | None = None
    mfu: float | None = None
    eta_s: float | None = None

    def read(self, logs: Mapping[str, float]) -> None:
        """Take over what a log entry has."""
        self.epoch = logs.get("epoch", self.epoch)
        self.loss = logs.get("loss", self.loss)
        self.tokens_per_s = logs.get("tokens_per_s", self.tokens_per_s)
        self.mfu = logs.get("mfu", self.mfu)

    def read_evaluation(self, held_out: float, step: int) -> bool:
        """Take over a held-out loss; whether it is the best so far."""
        self.held_out = held_out
        if self.best is not None and not held_out < self.best:
            return False
        self.best, self.best_step = held_out, step
        return True


class ProgressCallback(TrainerCallback):
    """Shows a training on stderr. Leave it as a context, so that the terminal is whole again whatever happened."""

    def __init__(self, console: Console | None = None, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._console = console or message_console()
        self._clock = clock
        self._figures = Figures()
        self._began: tuple[int, float] = (0, 0.0)
        self._drawn_at_s = float("-inf")
        self._live: Live | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away; safe to repeat."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._figures = Figures(
            step=state.global_step,
            num_steps=state.max_steps,
            best=state.best_metric,
            best_step=state.best_global_step if state.best_metric is not None else None,
        )
        self._began = (state.global_step, self._clock())
        if self._console.is_terminal and not self._console.is_dumb_terminal:
            self._live = Live(get_renderable=self._rendered, console=self._console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        began_step, began_s = self._began
        self._figures.step = state.global_step
        per_step_s = (self._clock() - began_s) / max(1, state.global_step - began_step)
        self._figures.eta_s = per_step_s * (state.max_steps - state.global_step)
        self._refresh()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        self._figures.read(logs or {})
        self._refresh()
        if logs and "loss" in logs and self._live is None and self._is_due(_PLAIN_INTERVAL_S):
            self._print(progress_line(self._figures))

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: Mapping[str, float] | None = None,
        **_: Any,
    ) -> None:
        if metrics and "eval_loss" in metrics:
            is_best = self._figures.read_evaluation(metrics["eval_loss"], state.global_step)
            self._print(evaluation_line(self._figures, metrics, is_best=is_best))

    def on_train_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self.close()
        self._print(progress_line(self._figures))

    def _print(self, line: str) -> None:
        self._console.print(Text(line), soft_wrap=True)

    def _is_due(self, interval_s: float) -> bool:
        now_s = self._clock()
        if now_s - self._drawn_at_s < interval_s:
            return False
        self._drawn_at_s = now_s
        return True

    def _refresh(self) -> None:
        if self._live is not None and self._is_due(_REFRESH_INTERVAL_S):
            self._live.refresh()

    def _rendered(self) -> RenderableType:
        figures = self._figures
        row = Table.grid(padding=(0, 2))
        row.add_row(
            f"step [bold]{figures.step:,}[/bold]/{figures.num_steps:,}",
            ProgressBar(total=max(1, figures.num_steps), completed=figures.step, width=_BAR_WIDTH),
            f"ETA {duration_text(figures.eta_s)}",
        )
        return Group(row, Text(" · ".join(_figures_text(figures)), style="dim"))


def progress_line(figures: Figures) -> str:
    """Where a training stands, on one line."""
    parts = [f"step {figures.step:,}/{figures.num_steps:,}", *_figures_text(figures)]
    if figures.step < figures.num_steps:
        parts.append(f"ETA {duration_text(figures.eta_s)}")
    return " · ".join(parts)


def evaluation_line(figures: Figures, metrics: Mapping[str, float], *, is_best: bool) -> str:
    """A held-out loss, and how it compares."""
    parts = [f"step {figures.step:,}/{figures.num_steps:,}", f"held out {metrics['eval_loss']:.4f}"]
    if "eval_perplexity" in metrics:
        parts.append(f"perplexity {metrics['eval_perplexity']:,.2f}")
    parts.append("best so far" if is_best else f"best {figures.best:.4f} at step {figures.best_step:,}")
    return " · ".join(parts)


def _figures_text(figures: Figures) -> list[str]:
    parts = [f"epoch {figures.epoch:.2f}"]
    if figures.loss is not None:
        parts.append(f"loss {figures.loss:.4f}")
    if figures.held_out is not None:
        best = "" if figures.best == figures.held_out else f" (best {figures.best:.4f})"
        parts.append(f"held out {figures.held_out:.4f}{best}")
    if figures.tokens_per_s is not None:
        parts.append(f"{figures.tokens_per_s:,.0f} tokens/s")
    if figures.mfu is not None:
        parts.append(f"MFU {figures.mfu:.1%}")
    return parts
