"""Histograms of a dataset, from summaries, or by reading what has none."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.browse_api import Histograms
from platolm.errors import OutputError
from platolm.storage import open_place
from services.orchestrator.browse.histograms import histograms
from tests.browsed_dataset import dataset, forget_summaries, run_place, said

BATCHES = [
    [said(0, "a", "b", num_tokens=2), said(1, "a", "b", "c", "d", num_tokens=3, ending="empty")],
    [said(2, "a", "b", num_tokens=40)],
]
BATCHES[1][0]["turns"][0]["faults"] = ["role_slip", "role_slip"]
EXPECTED = Histograms(
    conversations=3,
    total=3,
    rounds=[(1, 2), (2, 1)],
    user_tokens=[(2, 1), (4, 2), (64, 1)],
    assistant_tokens=[(2, 1), (4, 2), (64, 1)],
    terminations={"turn_limit": 2, "empty": 1},
    generated_tokens=4 + 12 + 80,
    faults={"role_slip": 2},
)


def test_summaries_add_up(tmp_path: Path) -> None:
    place = dataset(open_place(tmp_path), BATCHES)
    for segment in (tmp_path / "segments").iterdir():
        segment.unlink()  # they are not opened
    assert histograms(place) == EXPECTED
    assert histograms(place) == EXPECTED


def test_an_old_dataset_is_counted_bit_by_bit(tmp_path: Path) -> None:
    place = dataset(open_place(tmp_path), BATCHES)
    forget_summaries(place.place)
    place = run_place(place.place)
    first = histograms(place, looks_for_s=0.0)
    assert (first.conversations, first.total, first.rounds) == (2, 3, [(1, 1), (2, 1)])
    assert histograms(place, looks_for_s=0.0) == EXPECTED


def test_a_record_that_cannot_be_counted_is_kept_and_named(tmp_path: Path) -> None:
    broken = said(0, "a", "b")
    del broken["num_rounds"]
    place = dataset(open_place(tmp_path), [[broken]])
    assert place.entry(1).summary is None
    with pytest.raises(OutputError, match="has a record that lacks 'num_rounds'"):
        histograms(place)
