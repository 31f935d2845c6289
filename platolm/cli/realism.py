"""How much a run's user sounds like a person, in a line."""

from __future__ import annotations

from platolm.runs import RealismProgress

_SHARES = ("repeats", "role_slips", "distinct_openings")


def realism_line(realism: RealismProgress | None) -> str:
    """`rounds 3.2, user words 12.4, …, repeats 1.5 %, over 312 conversations`; empty where nothing was measured."""
    if realism is None:
        return ""
    figures = [f"{name.replace('_', ' ')} {_figure(name, value)}" for name, value in realism.figures.items()]
    return ", ".join([*figures, f"over {realism.conversations:,} conversations"])


def _figure(name: str, value: float) -> str:
    return f"{100 * value:.2f} %" if name in _SHARES else f"{value:,.1f}"
