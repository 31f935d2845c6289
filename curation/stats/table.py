"""Statistics as tables for a terminal: the paper's table, then every measure, each beside what was published."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from curation.stats.figures import Distance, Figure, Statistics
from curation.stats.goodbyes import best_row
from curation.stats.intervals import Estimate
from curation.stats.measures import BY_KEY, JUDGED, MEASURES, Measure
from curation.stats.published import CONVERSATIONS, NOT_MEASURED, PLATOLM_SETS, SIZES, USERS, Published

DASH = "–"


def size_table(all_statistics: Sequence[Statistics]) -> Table:
    """Datasets down, sizes across, as in the paper."""
    table = _table("Size, with 95 % intervals")
    table.add_column("dataset", overflow="fold")
    table.add_column("conversations", justify="right")
    for key in SIZES[1:]:
        table.add_column(BY_KEY[key].title, justify="right")
    for statistics in all_statistics:
        cells = [cell_of(BY_KEY[key], statistics.figures[key], below=True) for key in SIZES[1:]]
        table.add_row(escape(statistics.name), f"{statistics.conversations:,}", *cells, style="bold")
    for published in PLATOLM_SETS:
        table.add_row(published.name, *(published_cell(published, key) for key in SIZES))
    return table


def measure_table(all_statistics: Sequence[Statistics]) -> Table:
    """Measures down, datasets across, then what was published; those that no dataset has are left out."""
    table = _table("Questions and user turns, with 95 % intervals")
    table.caption = "published, not measured here: " + "; ".join(NOT_MEASURED)
    table.caption_justify = "left"
    table.add_column("measure")
    for statistics in all_statistics:
        table.add_column(escape(statistics.name), justify="right", overflow="fold")
    for published in USERS:
        table.add_column(published.name, justify="right", style="dim")
    for measure in measured(all_statistics):
        cells = [cell_of(measure, statistics.figures[measure.key], below=True) for statistics in all_statistics]
        table.add_row(measure.title, *cells, *(published_cell(one, measure.key) for one in USERS))
    return table


def threshold_table(statistics: Statistics) -> Table | None:
    """Goodbye thresholds down, what each would have made of the dataset; None where that is not known.

    A threshold that changes nothing of the one above it is left out.
    """
    if not statistics.goodbye_thresholds:
        return None
    best = best_row(statistics.goodbye_thresholds)
    table = _table(f"Goodbyes by endings.goodbye_threshold: {escape(statistics.name)}")
    table.caption = f"best F1: {_named(best.threshold)}; none: what the simulator said itself"
    table.caption_justify = "left"
    for name in ("threshold", "predicted", "right", "precision, %", "recall, %", "F1, %"):
        table.add_column(name, justify="right")
    above = None
    for row in statistics.goodbye_thresholds:
        if above is None or row.predicted != above.predicted:
            shares = (_percent(share) for share in (row.precision, row.recall, row.f1))
            counts = (f"{row.predicted:,}", f"{row.hit:,}")
            table.add_row(_named(row.threshold), *counts, *shares, style="bold" if row == best else None)
        above = row
    return table


def _named(threshold: float | None) -> str:
    return "none" if threshold is None else f"{threshold:g}"


def _percent(share: float | None) -> str:
    return DASH if share is None else f"{100 * share:.2f}"


def _table(title: str) -> Table:
    """Narrow enough for two datasets on a terminal of 80 columns."""
    return Table(title=title, title_justify="left", box=SIMPLE_HEAD, pad_edge=False)


def measured(all_statistics: Sequence[Statistics]) -> list[Measure]:
    """The measures besides sizes that at least one dataset has."""
    return [
        measure
        for measure in MEASURES
        if measure.key not in SIZES and any(one.figures[measure.key].estimate for one in all_statistics)
    ]


def notes_of(statistics: Statistics) -> list[str]:
    """What a reader has to know besides the figures: what was left out, sampled or not measured, and costs."""
    notes = [f"{count:,} records left out: {reason}" for reason, count in statistics.unreadable.items()]
    sampled = [BY_KEY[key].title for key, figure in statistics.figures.items() if figure.sampled and key not in JUDGED]
    if sampled and statistics.sample < statistics.conversations:
        notes.append(
            f"over a sample of {statistics.sample:,} conversations (seed {statistics.seed}): {'; '.join(sampled)}"
        )
    notes += [f"not measured: {titles}: {reason}" for reason, titles in _lacking(statistics.figures).items()]
    notes += [_told_distance(one) for one in statistics.distances]
    if statistics.goodbyes_unknown and statistics.goodbye_thresholds:
        notes.append(f"{statistics.goodbyes_unknown:,} goodbyes or turns without a probability, not in its table")
    if (cost := statistics.judge_cost) is not None:
        amount = f", cost {cost.amount:,.4f}" if cost.amount is not None else ", cost unknown without --judge-price"
        tokens = f"{cost.prompt_tokens:,} + {cost.completion_tokens:,} tokens"
        judged = statistics.figures["judge_complexity"].count
        notes.append(f"judge: {judged:,} conversations, {cost.requests:,} requests now, {tokens}{amount}")
    return [*notes, *(f"{what}: {name}" for what, name in statistics.made_by.items())]


def told(found: Estimate, places: int, *, below: bool = False) -> str:
    """An estimate in digits, its interval in brackets or on a line `below`; it alone where it has none."""
    value = f"{found.value:,.{places}f}"
    if found.low is None or found.high is None:
        return value
    ends = f"{found.low:,.{places}f}…{found.high:,.{places}f}"
    return f"{value}\n{ends}" if below else f"{value} ({ends})"


def _told_distance(distance: Distance) -> str:
    if distance.kolmogorov_smirnov is None or distance.mean_ratio is None:
        return f"lengths of user turns cannot be compared with {distance.other}'s: one of the two has no user turn"
    gap, ratio = told(distance.kolmogorov_smirnov, 3), told(distance.mean_ratio, 2)
    return (
        f"lengths of user turns differ from {distance.other}'s by {gap} (Kolmogorov-Smirnov, 0 to 1); "
        f"their mean is {ratio} times as long"
    )


def cell_of(measure: Measure, figure: Figure, *, below: bool = False) -> str:
    """A figure with its interval, as `told`; a dash where there is none."""
    found = figure.estimate
    if found is None:
        return DASH
    return told(found, measure.places, below=below)


def published_cell(published: Published, key: str) -> str:
    """A published figure; a dash where there is none."""
    value = published.figures.get(key)
    if value is None:
        return DASH
    return f"{value:,.0f}" if key == CONVERSATIONS else f"{value:,.{BY_KEY[key].places}f}"


def _lacking(figures: Mapping[str, Figure]) -> dict[str, str]:
    """Titles of what was not measured, by the reason."""
    reasons: dict[str, list[str]] = {}
    for measure in MEASURES:
        if (lacking := figures[measure.key].lacking) is not None:
            reasons.setdefault(lacking, []).append(measure.title)
    return {reason: "; ".join(titles) for reason, titles in reasons.items()}
