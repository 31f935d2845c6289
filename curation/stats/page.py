"""Statistics as one HTML page with plots: nothing is loaded from elsewhere, no script, light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from curation.stats.figures import Statistics
from curation.stats.measures import BY_KEY, Measure
from curation.stats.plots import NUM_COLOURS, Mark, Series, bars, intervals, shares_of
from curation.stats.published import NOT_MEASURED, PLATOLM_SETS, SIZES, USERS, Published
from curation.stats.table import cell_of, measured, notes_of, published_cell
from platolm import __version__

_TEMPLATE = Path(__file__).with_name("page.html")
_ROUND_BINS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 1_000_000)
_ROUND_LABELS = ("≤1", "2", "3", "4", "5", "6", "8", "10", "15", "…")
_WORD_BINS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1 << 60)
_WORD_LABELS = ("≤1", "2", "4", "8", "16", "32", "64", "128", "256", "512", "…")


@dataclass(frozen=True)
class Plot:
    """A picture with its title and what it shows; `head` and `rows` have its numbers where no other table does."""

    title: str
    explained: str
    picture: Markup
    head: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()


def page_of(all_statistics: Sequence[Statistics]) -> str:
    """The page of a dataset's statistics and of those beside it."""
    return _template().render(
        title=f"Statistics of {all_statistics[0].name}",
        version=__version__,
        num_colours=NUM_COLOURS,
        datasets=[
            {"statistics": statistics, "colour": f"c{number % NUM_COLOURS}", "notes": notes_of(statistics)}
            for number, statistics in enumerate(all_statistics)
        ],
        size_head=["dataset", "conversations", *(BY_KEY[key].title for key in SIZES[1:])],
        sizes=[_size_row(statistics) for statistics in all_statistics],
        published_sizes=[
            [f"{one.name} (published)", *(published_cell(one, key) for key in SIZES)] for one in PLATOLM_SETS
        ],
        measure_head=["measure", *(one.name for one in all_statistics), *(f"{one.name} (published)" for one in USERS)],
        measure_rows=[_measure_row(measure, all_statistics) for measure in measured(all_statistics)],
        measures=[_measure_plot(measure, all_statistics) for measure in _plotted(all_statistics)],
        distributions=_distributions(all_statistics),
        not_measured=NOT_MEASURED,
    )


@cache
def _template() -> Template:
    loader = FileSystemLoader(_TEMPLATE.parent)
    environment = Environment(
        loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template(_TEMPLATE.name)


def _size_row(statistics: Statistics) -> list[str]:
    cells = [cell_of(BY_KEY[key], statistics.figures[key]) for key in SIZES[1:]]
    return [statistics.name, f"{statistics.conversations:,}", *cells]


def _measure_row(measure: Measure, all_statistics: Sequence[Statistics]) -> list[str]:
    cells = [cell_of(measure, statistics.figures[measure.key]) for statistics in all_statistics]
    return [measure.title, *cells, *(published_cell(one, measure.key) for one in USERS)]


def _plotted(all_statistics: Sequence[Statistics]) -> list[Measure]:
    """Sizes that somebody measured, then all other measures."""
    sizes = [BY_KEY[key] for key in SIZES[1:] if any(one.figures[key].estimate for one in all_statistics)]
    return [*sizes, *measured(all_statistics)]


def _measure_plot(measure: Measure, all_statistics: Sequence[Statistics]) -> Plot:
    marks = []
    for number, statistics in enumerate(all_statistics):
        figure = statistics.figures[measure.key]
        if (found := figure.estimate) is not None:
            text = cell_of(measure, figure)
            marks.append(Mark(statistics.name, text, found.value, found.low, found.high, number))
    marks += [_published_mark(one, measure.key) for one in (*PLATOLM_SETS[:2], *USERS) if measure.key in one.figures]
    return Plot(measure.title, measure.explained, Markup(intervals(measure.title, marks, unit=measure.unit)))


def _published_mark(published: Published, key: str) -> Mark:
    return Mark(f"{published.name} (published)", published_cell(published, key), published.figures[key])


def _distributions(all_statistics: Sequence[Statistics]) -> list[Plot]:
    """Histograms, one bar a dataset."""
    realisms = [(one.name, one.realism) for one in all_statistics]
    return [
        _histogram("Rounds", "conversations", "rounds", _ROUND_LABELS, _ROUND_BINS,
                   [(name, one.round_counts) for name, one in realisms]),
        _histogram("Length of a user turn", "user turns", "words", _WORD_LABELS, _WORD_BINS,
                   [(name, one.user_lengths) for name, one in realisms]),
        _histogram("Length of an assistant turn", "assistant turns", "words", _WORD_LABELS, _WORD_BINS,
                   [(name, one.assistant_lengths) for name, one in realisms]),
    ]  # fmt: skip


def _histogram(
    title: str,
    counted: str,
    unit: str,
    labels: Sequence[str],
    bins: Sequence[int],
    counts: Sequence[tuple[str, Mapping[int, int]]],
) -> Plot:
    """One of what is `counted`, by its number of `unit`, for datasets by name."""
    series = [Series(name, shares_of(one, bins)) for name, one in counts]
    return Plot(
        title,
        f"{counted} by their number of {unit}; each up to the number below it; …: all above",
        Markup(bars(title, labels, series, counted=counted, unit=f"{unit}, up to")),
        [f"{unit}, up to", *(one.name for one in series)],
        [[label, *(f"{one.shares[place]:.1%}" for one in series)] for place, label in enumerate(labels)],
    )
