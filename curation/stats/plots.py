"""Plots as SVG elements that take their colours from the page: bars of shares, and figures with their intervals.

Widths are in units of the picture; on a page 380 pixels wide, one is about a pixel. Colours are the classes `c0`, `c1`,
… by dataset; all numbers stand in the page's tables too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element, SubElement, tostring

WIDTH = 340
NUM_COLOURS = 5
_PLOT_HEIGHT, _AXIS_HEIGHT, _TOP, _LEFT = 130, 42, 26, 40
_ROW, _PADDING, _SCALE_HEIGHT = 38, 10, 36
_CHARACTER = 6.6
"""Width of one, generously."""

_FILLED = 0.8
_NUM_STEPS = 4
_LEAST_SPAN = 1e-9


@dataclass(frozen=True)
class Series:
    """A dataset's share of its total in each bin."""

    name: str
    shares: Sequence[float]


@dataclass(frozen=True)
class Mark:
    """A figure; `low` and `high` None: it has no interval. `colour` None: it is somebody else's."""

    name: str
    text: str
    value: float
    low: float | None = None
    high: float | None = None
    colour: int | None = None


def shares_of(counts: Mapping[int, int], bins: Sequence[int]) -> list[float]:
    """The share of each bin, by its upper bound; the last one takes what is beyond it too."""
    total = sum(counts.values())
    sums = [0] * len(bins)
    for value, count in counts.items():
        place = next((place for place, bound in enumerate(bins) if value <= bound), len(bins) - 1)
        sums[place] += count
    return [one / total if total else 0.0 for one in sums]


def ticks(low: float, high: float) -> list[float]:
    """Round numbers, evenly spaced, from one at or below `low` to one at or above `high`: three to six of them."""
    if high - low < _LEAST_SPAN:
        low, high = min(0.0, low), max(0.0, high)
    if high - low < _LEAST_SPAN:
        high = low + 1
    rough = (high - low) / _NUM_STEPS
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def bars(title: str, labels: Sequence[str], series: Sequence[Series], *, counted: str, unit: str) -> str:
    """Groups of bars, one group a label, one bar a dataset; heights are shares of what is `counted`."""
    svg = _picture(f"{title}: share of {counted} by {unit}, as bars", _TOP + _PLOT_HEIGHT + _AXIS_HEIGHT)
    marks = ticks(0, max([share for one in series for share in one.shares], default=0.0))
    top = marks[-1]
    _share_axis(svg, marks, counted)
    group = (WIDTH - _LEFT) / len(labels)
    bar = group * _FILLED / max(1, len(series))
    for place, label in enumerate(labels):
        left = _LEFT + place * group
        _text(svg, left + group / 2, _TOP + _PLOT_HEIGHT + 15, label, anchor="middle")
        for number, one in enumerate(series):
            height = _PLOT_HEIGHT * one.shares[place] / top
            x, y = left + group * (1 - _FILLED) / 2 + number * bar, _TOP + _PLOT_HEIGHT - height
            rect = _add(svg, "rect", f"c{number % NUM_COLOURS}", x=x, y=y, width=bar * 0.92, height=height)
            SubElement(rect, "title").text = f"{one.name}, {label}: {one.shares[place]:.1%}"
    _text(svg, _LEFT + (WIDTH - _LEFT) / 2, _TOP + _PLOT_HEIGHT + 33, unit, anchor="middle", kind="axis")
    return tostring(svg, encoding="unicode")


def intervals(title: str, marks: Sequence[Mark], *, unit: str) -> str:
    """One row a figure: its name and number above a line with the dot and its interval, all on one scale."""
    bottom = _ROW * len(marks)
    svg = _picture(f"{title}: " + "; ".join(f"{mark.name} {mark.text}" for mark in marks), bottom + _SCALE_HEIGHT)
    ends = [end for mark in marks for end in (mark.value, mark.low, mark.high) if end is not None]
    scale = ticks(min(ends), max(ends))

    def across(value: float) -> float:
        return _PADDING + (value - scale[0]) / (scale[-1] - scale[0]) * (WIDTH - 2 * _PADDING)

    _scale(svg, scale, across, bottom, unit)
    for number, mark in enumerate(marks):
        _row(svg, mark, number * _ROW, across)
    return tostring(svg, encoding="unicode")


def _row(svg: Element, mark: Mark, top: float, across: Callable[[float], float]) -> None:
    colour = "other" if mark.colour is None else f"c{mark.colour % NUM_COLOURS}"
    _text(svg, 0, top + 13, _shortened(mark.name, WIDTH - _CHARACTER * (len(mark.text) + 1)))
    _text(svg, WIDTH, top + 13, mark.text, anchor="end", kind="figure")
    middle = top + 26
    _add(svg, "line", "rule", x1=0, x2=WIDTH, y1=middle, y2=middle)
    if mark.low is not None and mark.high is not None:
        _add(svg, "line", f"{colour} range", x1=across(mark.low), x2=across(mark.high), y1=middle, y2=middle)
    dot = _add(svg, "circle", colour, cx=across(mark.value), cy=middle, r=5)
    SubElement(dot, "title").text = f"{mark.name}: {mark.text}"


def _scale(svg: Element, marks: Sequence[float], across: Callable[[float], float], top: float, unit: str) -> None:
    """The line of numbers below the rows."""
    _add(svg, "line", "scale", x1=across(marks[0]), x2=across(marks[-1]), y1=top + 4, y2=top + 4)
    for place, mark in enumerate(marks):
        anchor = "start" if place == 0 else "end" if place == len(marks) - 1 else "middle"
        x = {"start": 0.0, "end": float(WIDTH), "middle": across(mark)}[anchor]
        _add(svg, "line", "scale", x1=across(mark), x2=across(mark), y1=top + 1, y2=top + 7)
        _text(svg, x, top + 19, f"{mark:,.10g}", anchor=anchor)
    _text(svg, WIDTH / 2, top + 33, unit, anchor="middle", kind="axis")


def _share_axis(svg: Element, marks: Sequence[float], counted: str) -> None:
    _text(svg, 0, 11, f"share of {counted}, %", kind="axis")
    for share in marks:
        y = _TOP + _PLOT_HEIGHT * (1 - share / marks[-1])
        _add(svg, "line", "rule", x1=_LEFT, x2=WIDTH, y1=y, y2=y)
        _text(svg, _LEFT - 5, y + 4, f"{share * 100:.10g}", anchor="end")


def _shortened(name: str, room: float) -> str:
    most = max(4, int(room / _CHARACTER))
    return name if len(name) <= most else name[: most - 1] + "…"


def _picture(told: str, height: float) -> Element:
    return Element("svg", {"viewBox": f"0 0 {WIDTH} {_number(height)}", "role": "img", "aria-label": told})


def _add(parent: Element, tag: str, kind: str, **places: float) -> Element:
    return SubElement(parent, tag, {"class": kind, **{name: _number(value) for name, value in places.items()}})


def _text(svg: Element, x: float, y: float, content: str, *, anchor: str = "start", kind: str = "label") -> None:
    element = _add(svg, "text", kind, x=x, y=y)
    element.set("text-anchor", anchor)
    element.text = content


def _number(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
