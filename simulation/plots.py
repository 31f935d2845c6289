"""The study's pictures as SVG, legible on a light page and on a dark one."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from simulation.placement import Policy
from simulation.scenarios import SCENARIOS
from simulation.study import Study

NAMES = {
    Policy.LEAST_RESERVED: "least reserved tokens",
    Policy.POWER_OF_TWO: "two at random",
    Policy.ROUND_ROBIN: "round robin",
    Policy.CONSISTENT_HASH: "consistent hash",
    Policy.REQUEST_ROUND_ROBIN: "round robin, each request",
}
_COLOURS = {
    Policy.LEAST_RESERVED: "#2f7fd6",
    Policy.POWER_OF_TWO: "#3d9a50",
    Policy.ROUND_ROBIN: "#8a7ad6",
    Policy.CONSISTENT_HASH: "#d9822b",
    Policy.REQUEST_ROUND_ROBIN: "#d14d5a",
}
_INK = "#808890"  # between black and white: seen on either
_STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "platolm",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": _INK,
    "axes.edgecolor": _INK,
    "axes.labelcolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "axes.facecolor": "none",
    "legend.frameon": False,
}


def throughput_picture(study: Study) -> str:
    """Conversations an hour by scenario and policy, as a share of what the formula gives."""
    with _drawing() as (figure, axes):
        _bars(axes, study, figure_of="rate")
        axes.axhline(1.0, color=_INK, linewidth=0.8, linestyle="--")
        axes.set_ylabel("conversations/hour ÷ the formula's")
        return _svg(figure)


def hits_picture(study: Study) -> str:
    """The share of prompt tokens that were found in a cache."""
    with _drawing() as (figure, axes):
        _bars(axes, study, figure_of="hits")
        axes.set_ylabel("prompt tokens found in a cache")
        axes.set_ylim(0, 1)
        return _svg(figure)


def killed_picture(study: Study) -> str:
    """Engines at work over time while a fifth of them is away, and the tail."""
    with _drawing() as (figure, axes):
        for policy in Policy:
            cell = study.cell("killed", policy)
            times = [cell.bin_s * number for number in range(len(cell.busy_engines))]
            axes.plot(times, cell.busy_engines, color=_COLOURS[policy], linewidth=1.4, label=NAMES[policy])
        axes.set_xlabel("seconds of the run")
        axes.set_ylabel("engines at work")
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        return _svg(figure)


def _bars(axes: Axes, study: Study, figure_of: str) -> None:
    """A group a scenario, a bar a policy."""
    width = 0.8 / len(Policy)
    for policy in Policy:
        cells = [study.cell(scenario.name, policy) for scenario in SCENARIOS]
        values = [
            cell.conversations_per_h / cell.formula_per_h if figure_of == "rate" else cell.hit_share for cell in cells
        ]
        places = [number + (int(policy) - (len(Policy) - 1) / 2) * width for number in range(len(cells))]
        axes.bar(places, values, width * 0.92, color=_COLOURS[policy], label=NAMES[policy])
    axes.set_xticks(range(len(SCENARIOS)), [scenario.name for scenario in SCENARIOS])
    axes.legend(fontsize=8, ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))


@contextmanager
def _drawing() -> Iterator[tuple[Figure, Axes]]:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 3.6), layout="constrained")
        FigureCanvasSVG(figure)
        axes = figure.subplots()
        axes.spines[["top", "right"]].set_visible(False)
        yield figure, axes


def _svg(figure: Figure) -> str:
    """The same picture is the same text: no date, and as many digits as can be seen."""
    content = io.StringIO()
    figure.savefig(content, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = re.sub(r"(\d+\.\d\d)\d+", r"\1", content.getvalue())
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
