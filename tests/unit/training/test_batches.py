"""Rows as tensors: exact positions, targets and turns in both layouts; a step says what all devices hold."""

from __future__ import annotations

import numpy as np
import torch
from datasets import Dataset  # type: ignore[import-untyped]

from training.batches import MICRO_BATCHES, Cut, Row, RowSource, RowTensors, StepDataset
from training.recipes.recipe import Batch
from training.steps import Layout, StepPlan

NO = -100


def row(ids: list[int], labels: list[int], first_turn: int = 0) -> Row:
    return np.array(ids), np.array(labels), first_turn


TWO_TURNS = row([1, 5, 6, 7, 8, 9], [NO, 5, 6, NO, 8, 9])
LATER_TURN = row([1, 4, 3], [NO, NO, 3], first_turn=2)


def test_a_pack_restarts_its_positions_and_marks_where_labels_are_predicted_from() -> None:
    batch = RowTensors(Layout.PACKED, pad_multiple=8, pad_id=0)([TWO_TURNS, LATER_TURN])
    assert {name: torch.as_tensor(value).tolist() for name, value in batch.items()} == {
        "input_ids": [[1, 5, 6, 7, 8, 9, 1, 4, 3]],
        "position_ids": [[0, 1, 2, 3, 4, 5, 0, 1, 2]],
        "positions": [0, 1, 3, 4, 7],
        "targets": [5, 6, 8, 9, 3],
        "turns": [0, 0, 1, 1, 2],
    }


def test_varlen_kernels_get_the_rows_borders() -> None:
    batch = RowTensors(Layout.PACKED, pad_multiple=8, pad_id=0, varlen=True)([TWO_TURNS, LATER_TURN])
    for name in ("cu_seq_lens_q", "cu_seq_lens_k"):
        borders = torch.as_tensor(batch[name])
        assert borders.tolist() == [0, 6, 9]
        assert borders.dtype == torch.int32
    assert batch["max_length_q"] == batch["max_length_k"] == 6


def test_padding_is_on_the_right_and_carries_no_label() -> None:
    batch = RowTensors(Layout.PADDED, pad_multiple=4, pad_id=3)([LATER_TURN, TWO_TURNS])
    assert {name: torch.as_tensor(value).tolist() for name, value in batch.items()} == {
        "input_ids": [[1, 4, 3, 3, 3, 3, 3, 3], [1, 5, 6, 7, 8, 9, 3, 3]],
        "positions": [1, 8, 9, 11, 12],
        "targets": [3, 5, 6, 8, 9],
        "turns": [2, 0, 0, 1, 1],
    }


def test_a_label_on_the_first_token_has_nothing_before_it_and_is_left_out() -> None:
    batch = RowTensors(Layout.PACKED, pad_multiple=1, pad_id=0)([LATER_TURN, row([7, 8], [7, 8])])
    assert torch.as_tensor(batch["positions"]).tolist() == [1, 3]


def test_a_device_without_rows_gets_a_pass_without_labels() -> None:
    for layout in Layout:
        batch = RowTensors(layout, pad_multiple=1, pad_id=3)([])
        assert torch.as_tensor(batch["input_ids"]).tolist() == [[3, 3]]
        assert torch.as_tensor(batch["targets"]).tolist() == []


def dataset_of(rows: list[Row]) -> Dataset:
    return Dataset.from_dict(
        {
            "input_ids": [ids.tolist() for ids, _, _ in rows],
            "labels": [labels.tolist() for _, labels, _ in rows],
            "length": [len(ids) for ids, _, _ in rows],
            "num_labels": [int((labels != NO).sum()) for _, labels, _ in rows],
            "first_turn": [first for _, _, first in rows],
        }
    )


def test_the_devices_steps_together_are_the_step_and_each_knows_the_whole() -> None:
    source = RowSource(dataset_of([TWO_TURNS, LATER_TURN, TWO_TURNS]))
    plan = StepPlan(source.lengths, Batch(size=3), num_epochs=1, seed=1)
    steps = [
        StepDataset(
            source,
            plan,
            Cut(Batch(size=3, micro_tokens=6, pad_multiple=1), Layout.PACKED, num_devices=2, device=device),
            RowTensors(Layout.PACKED, 1, 0),
        )[0]
        for device in range(2)
    ]
    assert [step["num_labels"] for step in steps] == [9, 9]
    assert [sorted(step["lengths"]) for step in steps] == [[3, 6, 6], [3, 6, 6]]
    seen = [one["input_ids"].tolist() for step in steps for one in step[MICRO_BATCHES]]
    ids = [TWO_TURNS[0].tolist(), LATER_TURN[0].tolist()]
    assert sorted(seen) == sorted([[ids[0]], [ids[0]], [ids[1]], [[0, 0]]])
