"""What a completed run came to, as a table."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from platolm.cli.api_use import use_line
from platolm.cli.live import duration_text
from platolm.cli.realism import realism_line
from platolm.summary import RunSummary


def summary_table(summary: RunSummary, dataset: Path) -> Table:
    """A row a figure; `dataset` is the file to use."""
    table = Table(title=summary.run_id, show_header=False, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("finished", f"{summary.finished:,} of {summary.conversations:,} conversations")
    table.add_row("dead", f"{summary.dead:,}")
    if summary.cancelled:
        table.add_row("cancelled", f"{summary.cancelled:,}")
    table.add_row("endings", ", ".join(f"{reason} {count:,}" for reason, count in summary.terminations.items()) or "-")
    table.add_row("mean rounds", f"{summary.mean_rounds:.2f}")
    table.add_row("mean tokens an utterance", f"{summary.mean_utterance_tokens:.1f}")
    if summary.realism is not None:
        table.add_row("realism", realism_line(summary.realism))
    table.add_row("conversations/min", f"{summary.conversations_per_minute:,.1f}")
    table.add_row("tokens/s", f"{summary.tokens_per_s:,.0f} ({summary.generated_tokens:,} generated)")
    for side, use in summary.apis.items():
        table.add_row(f"{side}'s chat APIs", use_line(use))
    table.add_row("wall time", duration_text(summary.wall_time_s))
    table.add_row("dataset", str(dataset))
    return table
