"""The picture of a run: its series, and a PNG that is whole."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import OutputError
from training.view.plot import loss_by_turn, series, smoothed, write_loss_plot

PNG = b"\x89PNG\r\n\x1a\n"


def evaluation(step: int, loss: float, **turns: float) -> dict[str, Any]:
    return {"step": step, "epoch": 0.1, "eval_loss": loss, **{f"eval_loss_{name}": nll for name, nll in turns.items()}}


HISTORY: list[dict[str, Any]] = [
    evaluation(0, 5.0, turn_1=5.5, turn_2=5.0, turn_10_on=4.0),
    {"step": 1, "loss": 5.0, "learning_rate": 1e-4},
    {"step": 2, "loss": 4.0, "learning_rate": 2e-4},
    evaluation(2, 3.0, turn_2=3.0, turn_1=3.5, turn_10_on=2.0),
    {"step": 3, "loss": 3.0, "learning_rate": 1e-4},
    evaluation(3, 3.5, turn_1=4.0),
    {"step": 3, "train_runtime": 3.0, "train_loss": 4.0},
]


def test_series_hold_the_entries_that_have_the_key() -> None:
    assert series(HISTORY, "loss") == ([1, 2, 3], [5.0, 4.0, 3.0])
    assert series(HISTORY, "eval_loss") == ([0, 2, 3], [5.0, 3.0, 3.5])
    assert series([], "loss") == ([], [])


def test_turns_are_those_of_the_first_and_the_best_evaluation_in_order() -> None:
    assert loss_by_turn(HISTORY) == {
        "step 0": [("1", 5.5), ("2", 5.0), ("10+", 4.0)],
        "step 2": [("1", 3.5), ("2", 3.0), ("10+", 2.0)],
    }
    assert list(loss_by_turn(HISTORY[:2])) == ["step 0"]
    assert loss_by_turn(HISTORY[1:3]) == {}


def test_a_smoothed_constant_is_itself_and_a_short_series_stays() -> None:
    assert smoothed([2.0] * 100) == pytest.approx([2.0] * 100)
    assert smoothed([3.0, 1.0]) == [3.0, 1.0]
    assert smoothed([]) == []


def test_smoothing_is_a_mean_of_the_values_so_far_that_forgets() -> None:
    result = smoothed([1.0, 0.0, 0.0, 0.0], share=0.5)
    assert result == pytest.approx([1, 1 / 3, 1 / 7, 1 / 15])


@pytest.mark.parametrize("history", [HISTORY, HISTORY[1:3], HISTORY[:1], []])
def test_the_picture_is_a_png(history: list[dict[str, Any]], tmp_path: Path) -> None:
    write_loss_plot(history, tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)
    assert os.listdir(tmp_path) == ["loss.png"]


def test_a_loss_that_is_not_finite_is_a_gap(tmp_path: Path) -> None:
    write_loss_plot([*HISTORY, {"step": 4, "loss": float("nan")}, evaluation(4, float("inf"))], tmp_path / "loss.png")
    assert (tmp_path / "loss.png").read_bytes().startswith(PNG)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"loss\.png cannot be written"):
        write_loss_plot(HISTORY, tmp_path / "file" / "loss.png")
