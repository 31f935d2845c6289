"""Runs and conversations as tables."""

from __future__ import annotations

import time
from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from platolm.cli.api_use import use_line
from platolm.cli.console import printable
from platolm.cli.live import endings_line
from platolm.cli.rates import num_ended
from platolm.cli.realism import realism_line
from platolm.runs import DeadConversation, RunProgress
from platolm.runs_api import ConversationSummary

_NUM_UTTERANCES = "utterances"


def runs_table(runs: Iterable[RunProgress]) -> Table:
    """A row for each run."""
    table = _table("run", "name", "state")
    for column in ("ended", "of", "dead", "tokens"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("created", no_wrap=True)
    for run in runs:
        table.add_row(
            run.id,
            _text(run.spec.name or ""),
            _state(run),
            f"{num_ended(run):,}",
            f"{run.conversations:,}",
            f"{run.dead:,}",
            f"{run.generated_tokens:,}",
            _time(run.created_at),
        )
    return table


def run_table(run: RunProgress) -> Table:
    """One run, a row for each figure."""
    table = Table(title=Text(run.id), show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    rows = {
        "name": run.spec.name,
        "state": _state(run),
        "reason": None if run.pause is None else run.pause.reason,
        "created": _time(run.created_at),
        "conversations": f"{run.conversations:,}, seed mode {run.spec.seed_mode}",
        "fed to the queue": f"{run.fed:,}",
        "in flight": f"{run.in_flight:,}",
        "finished": f"{run.finished:,}, in the dataset {run.committed:,}",
        "dead": f"{run.dead:,}",
        "cancelled": f"{run.cancelled:,}" if run.cancelled else None,
        "endings": endings_line(run) or "-",
        "realism": realism_line(run.realism),
        _NUM_UTTERANCES: f"{run.utterances:,}, {run.generated_tokens:,} tokens generated",
        **{f"{side}'s chat APIs": use_line(use) for side, use in run.apis.items()},
        "budget": None if run.budget is None else f"{run.budget:g} for chat APIs",
        "expected cost": None if run.cost_estimate is None else run.cost_estimate.told(),
        "dataset": run.spec.output.url or "the API's data folder",
        "warnings": "\n".join(run.warnings),
    }
    for name, value in rows.items():
        if value:
            table.add_row(name, _text(value))
    return table


def conversations_table(conversations: Iterable[ConversationSummary]) -> Table:
    """A row for each conversation."""
    table = _table("conversation", "state")
    table.add_column(_NUM_UTTERANCES, justify="right")
    table.add_column("ending", no_wrap=True)
    table.add_column("error", overflow="fold")
    for one in conversations:
        ending = one.termination_reason or ""
        table.add_row(one.id, one.state, f"{one.num_turns:,}", ending, _text(one.error or ""))
    return table


def dead_table(dead: Iterable[DeadConversation]) -> Table:
    """A row for each dead conversation."""
    table = _table("conversation")
    table.add_column("attempts", justify="right")
    table.add_column("error", overflow="fold")
    for one in dead:
        table.add_row(one.id, f"{one.attempts:,}", _text(one.error))
    return table


def _table(*names: str) -> Table:
    """With columns that are never cut: what stands in them is copied into the next command."""
    table = Table()
    for name in names:
        table.add_column(name, no_wrap=name != "name", overflow="fold")
    return table


def _state(run: RunProgress) -> str:
    return f"{run.state} ({run.pause.by})" if run.pause is not None else run.state


def _text(text: str) -> Text:
    return Text(printable(text))


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))
