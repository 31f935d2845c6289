"""The plan of steps: every row as often as epochs say, and the same set of rows whatever the cut."""

from __future__ import annotations

from collections import Counter
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.recipes.recipe import Batch
from training.steps import Layout, StepPlan, micro_batches, width_of

CAPACITY = 64

lengths_of_rows = st.lists(st.integers(2, CAPACITY), min_size=1, max_size=60)


def padded_size(one: list[int], lengths: list[int], multiple: int) -> int:
    return len(one) * width_of(max(lengths[row] for row in one), multiple) if one else 0


def test_a_step_holds_as_many_conversations_as_the_batch_says_and_the_last_what_is_left() -> None:
    plan = StepPlan([5] * 10, Batch(size=4), num_epochs=2, seed=1)
    assert [len(plan.rows(step)) for step in range(len(plan))] == [4, 4, 4, 4, 4]
    plan = StepPlan([5] * 10, Batch(size=4), num_epochs=1, seed=1)
    assert [len(plan.rows(step)) for step in range(len(plan))] == [4, 4, 2]
    assert [plan.epochs_after(step) for step in range(4)] == [0, 0.4, 0.8, 1]


def test_a_step_of_tokens_ends_before_the_row_that_would_be_too_much() -> None:
    plan = StepPlan([10] * 7, Batch(size=25, unit="tokens"), num_epochs=1, seed=1)
    assert [len(plan.rows(step)) for step in range(len(plan))] == [2, 2, 2, 1]


def test_a_row_longer_than_a_step_of_tokens_is_a_step_of_its_own() -> None:
    plan = StepPlan([40, 40], Batch(size=25, unit="tokens"), num_epochs=1, seed=1)
    assert len(plan) == 2


def test_every_epoch_has_an_order_of_its_own_and_the_seed_decides_it() -> None:
    def order(seed: int) -> list[int]:
        plan = StepPlan([5] * 50, Batch(size=50), num_epochs=2, seed=seed)
        return plan.rows(0) + plan.rows(1)

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1)[:50] != order(1)[50:]
    assert sorted(order(1)[:50]) == sorted(order(1)[50:]) == list(range(50))


def test_max_steps_ends_the_same_plan_earlier() -> None:
    whole = StepPlan([5] * 30, Batch(size=4), num_epochs=3, seed=1)
    early = StepPlan([5] * 30, Batch(size=4), num_epochs=3, seed=1, max_steps=5)
    assert len(early) == 5
    assert [early.rows(step) for step in range(5)] == [whole.rows(step) for step in range(5)]


def test_part_of_an_epoch_sees_part_of_the_rows() -> None:
    plan = StepPlan([5] * 10, Batch(size=2), num_epochs=1.5, seed=1)
    assert Counter(Counter(chain.from_iterable(plan.rows(s) for s in range(len(plan)))).values()) == {1: 5, 2: 5}


def test_no_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="no rows"):
        StepPlan([], Batch(), num_epochs=1, seed=1)


@given(
    lengths=lengths_of_rows,
    layout=st.sampled_from(Layout),
    num_devices=st.integers(1, 5),
    pad_multiple=st.sampled_from([1, 8, 64]),
)
def test_the_cut_holds_every_row_once_within_the_limit_and_evenly(
    lengths: list[int], layout: Layout, num_devices: int, pad_multiple: int
) -> None:
    devices = micro_batches(
        range(len(lengths)),
        lengths,
        layout=layout,
        micro_tokens=CAPACITY,
        num_devices=num_devices,
        pad_multiple=pad_multiple,
    )
    assert len(devices) == num_devices
    assert len({len(passes) for passes in devices}) == 1
    everything = [row for passes in devices for one in passes for row in one]
    assert sorted(everything) == list(range(len(lengths)))
    for one in chain.from_iterable(devices):
        if layout is Layout.PACKED:
            assert sum(lengths[row] for row in one) <= CAPACITY
        else:
            assert padded_size(one, lengths, pad_multiple) <= CAPACITY


@given(lengths=lengths_of_rows, num_devices=st.integers(1, 4))
def test_packing_needs_at_most_eleven_ninths_of_the_best_and_a_device_more(
    lengths: list[int], num_devices: int
) -> None:
    """Best-fit decreasing's guarantee (Johnson 1974), against the volume bound."""
    devices = micro_batches(
        range(len(lengths)), lengths, layout=Layout.PACKED, micro_tokens=CAPACITY, num_devices=num_devices
    )
    num_passes = sum(1 for one in chain.from_iterable(devices) if one)
    at_best = max(-(-sum(lengths) // CAPACITY), sum(length > CAPACITY // 2 for length in lengths))
    assert num_passes <= 11 / 9 * at_best + 1 + num_devices


def test_packs_are_level_over_the_devices() -> None:
    devices = micro_batches(range(8), [30] * 8, layout=Layout.PACKED, micro_tokens=64, num_devices=2)
    assert [[len(one) for one in passes] for passes in devices] == [[2, 2], [2, 2]]


def test_padded_rows_of_like_length_go_together() -> None:
    lengths = [60, 4, 60, 4, 4, 4]
    (passes,) = micro_batches(range(6), lengths, layout=Layout.PADDED, micro_tokens=128)
    assert sorted(sorted(lengths[row] for row in one) for one in passes) == [[4, 4, 4, 4], [60, 60]]


def test_a_device_without_rows_still_takes_part() -> None:
    assert micro_batches([0], [10], layout=Layout.PADDED, micro_tokens=64, num_devices=3) == [[[0]], [[]], [[]]]
