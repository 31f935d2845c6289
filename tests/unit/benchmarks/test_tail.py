from __future__ import annotations

import pytest

from benchmarks.tail import ideal_share, open_seconds, share_below, spoken_s


def test_share_below_counts_time_and_not_samples() -> None:
    assert share_below({0: 1.0, 31: 1.0, 32: 3.0, 64: 5.0}, 32) == 0.2
    assert share_below({64: 5.0}, 32) == 0.0


@pytest.mark.parametrize(
    ("durations", "slots", "share"),
    [
        ([1.0, 1.0, 1.0, 1.0], 4, 0.0),
        # 4 slots; fewer than 2 are in use once three have ended: from 3 to 4.
        ([1.0, 2.0, 3.0, 4.0], 4, 0.25),
        # The fifth begins when the first ends, at 1: ends are 3, 2, 3 and 4.
        ([1.0, 2.0, 3.0, 4.0, 2.0], 4, 0.25),
        # 3 slots; fewer than 1.5 are in use once two have ended.
        ([1.0, 2.0, 4.0], 3, 0.5),
    ],
)
def test_ideal_share(durations: list[float], slots: int, share: float) -> None:
    assert ideal_share(durations, slots) == share


def test_open_seconds_add_up_from_the_first_beginning_to_the_last_end() -> None:
    records = [
        {"started_at": 1.0, "finished_at": 4.0},
        {"started_at": 2.0, "finished_at": 3.0},
        {"started_at": 5.0, "finished_at": 5.5},
    ]

    assert open_seconds(records) == {1: 2.5, 2: 1.0, 0: 1.0}


def test_a_conversation_waits_for_all_its_utterances() -> None:
    assert spoken_s({"turns": [{"duration_s": 0.0}, {"duration_s": 0.5}, {"duration_s": 1.25}]}) == 1.75
