"""What is taken of a run for its prediction."""

from __future__ import annotations

import pytest

from benchmarks.predicted import by_formula, middle_rate, workload_of
from platolm.conversation import ASSISTANT, USER
from platolm.errors import PlatoLMError
from tests.unit.benchmarks.records import record, turn
from tests.unit.sizing.curves import curve

RECORDS = [
    record(
        number,
        [turn(USER, 30, [1] * 9), turn(ASSISTANT, 44, [1] * 20, "length"), turn(USER, 68, [1] * 5, "length")],
        ["a", "b", "c"],
    )
    for number in range(2)
]


def test_the_simulation_says_what_the_dataset_says() -> None:
    workload = workload_of(RECORDS)
    assert workload.tokens.tolist() == [10, 20, 5] * 2
    assert workload.first.tolist() == [0, 3, 6]
    assert (workload.opening_tokens, workload.framing_tokens) == (30, 4)
    assert workload.requests(0, 0) == [(30.0, 10.0), (68.0, 5.0)]


def test_the_formula_is_asked_for_the_datasets_tokens() -> None:
    one, two = (by_formula(RECORDS, curve(), in_flight) for in_flight in (1, 2))
    assert 1 < two / one <= 2 + 1e-6


def test_the_middle_has_neither_beginning_nor_end() -> None:
    polled = [(float(second), count) for second, count in enumerate([0, 1, 30, 50, 70, 75, 76, 100])]
    assert middle_rate(polled, 100) == pytest.approx((76 - 30) / 4)
    with pytest.raises(PlatoLMError, match="more --conversations"):
        middle_rate(polled[:2], 100)
