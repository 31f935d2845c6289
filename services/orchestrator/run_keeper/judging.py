"""Whether the simulated user sounds enough like a person: the figures so far against the bounds of a run's spec."""

from __future__ import annotations

from platolm.realism import Realism
from platolm.realism_limits import Bounds, RealismLimits
from services.orchestrator.queue import RealismReport


def report_of(realism: Realism, limits: RealismLimits) -> RealismReport | None:
    """What the queue is to be told; None before anything was measured.

    Judged is each figure that has bounds and a value, once there are as many conversations as the limits want.
    """
    if not realism.conversations:
        return None
    figures = realism.figures()
    judged = {}
    if realism.conversations >= limits.after:
        judged = {
            figure: _wrong_with(figure, figures[figure], bounds, realism.conversations)
            for figure, bounds in limits.bounds.items()
            if figure in figures
        }
    return RealismReport(realism.conversations, figures, judged, limits.then)


def _wrong_with(figure: str, value: float, bounds: Bounds, conversations: int) -> str:
    """In words; empty where it is within its bounds, which belong to what is allowed."""
    if bounds.at_least is not None and value < bounds.at_least:
        broken = f"below {bounds.at_least:g} (limits.realism.{figure}.at_least)"
    elif bounds.at_most is not None and value > bounds.at_most:
        broken = f"above {bounds.at_most:g} (limits.realism.{figure}.at_most)"
    else:
        return ""
    return f"{figure} {value:.4g} is {broken} over {conversations:,} conversations"
