"""Rows as tensors: one optimizer step's micro-batches, packed or padded, with the labelled positions marked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from platolm.dyadic import IGNORE_INDEX
from training.recipes.recipe import Batch
from training.steps import Layout, MicroBatch, StepPlan, micro_batches, width_of

MICRO_BATCHES = "micro_batches"

Row = tuple[NDArray[np.int64], NDArray[np.int64], int]
"""`input_ids` and `labels` of one row, and how many target turns of its conversation came in earlier rows."""


@dataclass(frozen=True)
class RowTensors:
    """Makes a micro-batch's tensors from its rows.

    Keys: `input_ids` [rows, width]; `position_ids` (packed only, restarting with each row: that makes the attention
    block-diagonal); `positions` [n], where in the flattened batch a label is predicted from; `targets` [n], those
    labels; `turns` [n], the target turn within its conversation that a label belongs to. With `varlen` the row
    boundaries that FlashAttention's kernels take.
    """

    layout: Layout
    pad_multiple: int
    pad_id: int
    varlen: bool = False

    def __call__(self, rows: Sequence[Row]) -> dict[str, Tensor | int]:
        rows = rows or [self._nothing()]
        return self._packed(rows) if self.layout is Layout.PACKED else self._padded(rows)

    def _packed(self, rows: Sequence[Row]) -> dict[str, Tensor | int]:
        ends = np.cumsum([len(ids) for ids, _, _ in rows])
        starts = np.concatenate([[0], ends[:-1]])
        batch: dict[str, Tensor | int] = {
            "input_ids": torch.from_numpy(np.concatenate([ids for ids, _, _ in rows])[None]),
            "position_ids": torch.from_numpy(np.concatenate([np.arange(len(ids)) for ids, _, _ in rows])[None]),
            **_labelled(rows, starts),
        }
        if self.varlen:
            bounds = torch.from_numpy(np.concatenate([[0], ends])).to(torch.int32)
            longest = max(len(ids) for ids, _, _ in rows)
            batch |= {"cu_seq_lens_q": bounds, "cu_seq_lens_k": bounds}
            batch |= {"max_length_q": longest, "max_length_k": longest}
        return batch

    def _padded(self, rows: Sequence[Row]) -> dict[str, Tensor | int]:
        width = width_of(max(len(ids) for ids, _, _ in rows), self.pad_multiple)
        input_ids = np.full((len(rows), width), self.pad_id, dtype=np.int64)
        for line, (ids, _, _) in zip(input_ids, rows, strict=True):
            line[: len(ids)] = ids
        return {"input_ids": torch.from_numpy(input_ids), **_labelled(rows, np.arange(len(rows)) * width)}

    def _nothing(self) -> Row:
        """A device that has no rows left takes part in the pass all the same: its collectives are waited for."""
        return np.full(2, self.pad_id, dtype=np.int64), np.full(2, IGNORE_INDEX, dtype=np.int64), 0


class RowSource:
    """Rows by index from a prepared dataset's columns."""

    def __init__(self, rows: Any) -> None:
        """Take a `datasets.Dataset` with `input_ids`, `labels`, `length`, `num_labels` and `first_turn`."""
        self._rows = rows.with_format("numpy")
        self.lengths: list[int] = np.asarray(rows.with_format("numpy")["length"][:]).tolist()
        self.num_labels: list[int] = np.asarray(rows.with_format("numpy")["num_labels"][:]).tolist()

    def __len__(self) -> int:
        return len(self.lengths)

    def read(self, indices: MicroBatch) -> list[Row]:
        """The rows in the order of `indices`."""
        if not indices:
            return []
        columns = self._rows[indices]
        return [
            (np.asarray(ids, dtype=np.int64), np.asarray(labels, dtype=np.int64), int(first))
            for ids, labels, first in zip(columns["input_ids"], columns["labels"], columns["first_turn"], strict=True)
        ]


@dataclass(frozen=True)
class Cut:
    """How a set of rows is cut for this device; see `training.steps.micro_batches`."""

    batch: Batch
    layout: Layout
    num_devices: int
    device: int

    def __call__(self, rows: Sequence[int], lengths: Sequence[int]) -> list[MicroBatch]:
        return micro_batches(
            rows,
            lengths,
            layout=self.layout,
            micro_tokens=self.batch.micro_tokens,
            num_devices=self.num_devices,
            pad_multiple=self.batch.pad_multiple,
        )[self.device]


class StepDataset(Dataset[dict[str, Any]]):
    """One element is one optimizer step: this device's micro-batches, and what the whole step holds.

    `num_labels` and `lengths` are those of all devices together: the loss is normalised over them.
    """

    def __init__(
        self,
        source: RowSource,
        plan: StepPlan,
        cut: Callable[[Sequence[int], Sequence[int]], list[MicroBatch]],
        tensors: RowTensors,
    ) -> None:
        self.source, self.plan, self.cut, self.tensors = source, plan, cut, tensors

    def __len__(self) -> int:
        return len(self.plan)

    def __getitem__(self, step: int) -> dict[str, Any]:
        rows = self.plan.rows(step)
        return {
            MICRO_BATCHES: [self.tensors(self.source.read(one)) for one in self.cut(rows, self.source.lengths)],
            "num_labels": sum(self.source.num_labels[row] for row in rows),
            "lengths": [self.source.lengths[row] for row in rows],
        }


def _labelled(rows: Sequence[Row], starts: NDArray[np.int64]) -> dict[str, Tensor]:
    """`positions`, `targets` and `turns` of rows that begin at `starts` of the flattened batch."""
    positions, targets, turns = [], [], []
    for (_, labels, first_turn), start in zip(rows, starts, strict=True):
        is_label = labels != IGNORE_INDEX
        is_label[0] = False  # nothing comes before it
        at = np.flatnonzero(is_label)
        begins = at[~is_label[at - 1]]
        positions.append(at - 1 + start)
        targets.append(labels[at])
        turns.append(np.searchsorted(begins, at, side="right") - 1 + first_turn)
    names = ("positions", "targets", "turns")
    return {
        name: torch.from_numpy(np.concatenate(parts).astype(np.int64))
        for name, parts in zip(names, (positions, targets, turns), strict=True)
    }
