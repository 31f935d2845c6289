"""A run's curves in one picture: the loss over the steps, the learning rate, and the held-out loss by turn."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from platolm.storage import write_atomically

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TURN_PREFIX = "eval_loss_turn_"
_SMOOTHED_SHARE = 0.05
_LOSS, _HELD_OUT, _RATE = "tab:blue", "tab:orange", "tab:grey"

LogHistory = Sequence[dict[str, Any]]
"""`TrainerState.log_history`: entries with a `step` and `loss`, `learning_rate`, `eval_loss`, `eval_loss_turn_1` …"""


def write_loss_plot(log_history: LogHistory, path: Path) -> None:
    """Write the picture as PNG, whole or not at all; a history without losses gives empty axes.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    turns = loss_by_turn(log_history)
    figure = Figure(figsize=(9, 7 if turns else 5), layout="constrained")
    FigureCanvasAgg(figure)
    if turns:
        axes, below = figure.subplots(2, 1, height_ratios=(3, 1))
        _draw_turns(below, turns)
    else:
        axes = figure.subplots()
    _draw_losses(axes, log_history)
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=120)
    write_atomically(path, content.getvalue())


def smoothed(values: Sequence[float], share: float = _SMOOTHED_SHARE) -> list[float]:
    """An exponential moving average over about this share of the values, unbiased at its beginning."""
    keep = 1 - 1 / max(1.0, share * len(values))
    result, total, weight = [], 0.0, 0.0
    for value in values:
        total, weight = keep * total + value, keep * weight + 1
        result.append(total / weight)
    return result


def series(log_history: LogHistory, key: str) -> tuple[list[int], list[float]]:
    """Steps and values of the entries that have a key."""
    points = [(int(entry["step"]), float(entry[key])) for entry in log_history if key in entry]
    return [step for step, _ in points], [value for _, value in points]


def loss_by_turn(log_history: LogHistory) -> dict[str, list[tuple[str, float]]]:
    """For the first and the best evaluation that have them: (turn, loss) in order; no such evaluation: empty."""
    evaluations = [entry for entry in log_history if any(key.startswith(_TURN_PREFIX) for key in entry)]
    if not evaluations:
        return {}
    best = min(evaluations, key=lambda entry: entry["eval_loss"])
    shown = {f"step {entry['step']:,}": entry for entry in (evaluations[0], best)}
    return {name: _turns(entry) for name, entry in shown.items()}


def _turns(entry: dict[str, Any]) -> list[tuple[str, float]]:
    """The losses by turn of one evaluation; `9_on` is the ninth and all later ones."""
    keys = sorted((key for key in entry if key.startswith(_TURN_PREFIX)), key=_turn_number)
    return [(key.removeprefix(_TURN_PREFIX).replace("_on", "+"), entry[key]) for key in keys]


def _turn_number(key: str) -> int:
    return int(key.removeprefix(_TURN_PREFIX).removesuffix("_on"))


def _draw_losses(axes: Axes, log_history: LogHistory) -> None:
    rates = axes.twinx()
    rates.plot(*series(log_history, "learning_rate"), color=_RATE, linestyle=":", linewidth=1, label="learning rate")
    rates.set_ylabel("learning rate")
    rates.set_ylim(bottom=0)
    steps, losses = series(log_history, "loss")
    axes.plot(steps, losses, color=_LOSS, alpha=0.25, linewidth=0.8)
    axes.plot(steps, smoothed(losses), color=_LOSS, label="training, smoothed")
    held_steps, held_losses = series(log_history, "eval_loss")
    axes.plot(held_steps, held_losses, color=_HELD_OUT, marker=".", label="held out")
    if held_losses:
        best = min(range(len(held_losses)), key=held_losses.__getitem__)
        label = f"best {held_losses[best]:.4f} at step {held_steps[best]:,}"
        axes.plot(held_steps[best], held_losses[best], color=_HELD_OUT, marker="*", markersize=14, ls="", label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss, nats a token")
    axes.grid(alpha=0.2)
    lines = [*axes.get_lines(), *rates.get_lines()]
    axes.legend(handles=[line for line in lines if not str(line.get_label()).startswith("_")])


def _draw_turns(axes: Axes, turns: dict[str, list[tuple[str, float]]]) -> None:
    for name, points in turns.items():
        axes.plot([turn for turn, _ in points], [loss for _, loss in points], marker=".", label=name)
    axes.set_xlabel("target turn of the conversation")
    axes.set_ylabel("held out")
    axes.grid(alpha=0.2)
    axes.legend()
