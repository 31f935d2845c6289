"""Which rows each optimizer step sees, and how a step is cut into forward passes for each device.

A step is a set of rows, fixed by the recipe's batch and seed alone. Packing, padding, the number of devices and the
accumulation only decide how that set is cut into micro-batches, so none of them changes the gradient.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_left
from collections.abc import Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from training.recipes.recipe import Batch

MicroBatch = list[int]
"""Indices of the rows of one forward pass; empty where a device has nothing to do while others have."""


class Layout(StrEnum):
    """How the rows of a micro-batch lie in its tensors."""

    PACKED = "packed"
    """One after another in a single row, attention block-diagonal."""
    PADDED = "padded"
    """Each in a row of its own, as wide as the longest."""


class StepPlan:
    """The rows of every step of a training run, in order; the same on every device and after every restart."""

    def __init__(
        self, lengths: Sequence[int], batch: Batch, *, num_epochs: float, seed: int, max_steps: int | None = None
    ) -> None:
        """Plan the steps.

        Args:
            lengths: tokens of each row, at least one row.
            batch: what a step holds. The last step holds what is left.
            num_epochs: how often each row is seen; every epoch has an order of its own.
            seed: of the orders.
            max_steps: an earlier end.
        """
        self._num_rows = len(lengths)
        self._stream = _epochs(len(lengths), num_epochs, seed)
        if batch.unit == "conversations":
            bounds = [*range(0, len(self._stream), batch.size), len(self._stream)]
        else:
            bounds = _token_bounds(np.asarray(lengths)[self._stream].tolist(), batch.size)
        self._bounds = bounds if max_steps is None else bounds[: max_steps + 1]

    def __len__(self) -> int:
        """Number of steps."""
        return len(self._bounds) - 1

    def rows(self, step: int) -> list[int]:
        """Indices of a step's rows, steps from 0."""
        return [int(row) for row in self._stream[self._bounds[step] : self._bounds[step + 1]]]

    def epochs_after(self, num_steps: int) -> float:
        """Epochs that so many steps make."""
        return float(self._bounds[num_steps] / self._num_rows)


def micro_batches(
    rows: Sequence[int],
    lengths: Sequence[int],
    *,
    layout: Layout,
    micro_tokens: int,
    num_devices: int = 1,
    pad_multiple: int = 1,
) -> list[list[MicroBatch]]:
    """Cut a step's rows into forward passes: for each device a list, all lists equally long.

    Args:
        rows: indices into `lengths`.
        lengths: tokens of each row, none above `micro_tokens`.
        layout: packed: best-fit decreasing into bins of `micro_tokens`, then levelled; padded: rows of like length
            together, rows × width within `micro_tokens`.
        micro_tokens: tokens of a forward pass, padding included.
        num_devices: the cut is as even as it can be: every device takes part in every pass.
        pad_multiple: a padded batch is as wide as the next multiple.
    """
    by_length = sorted(rows, key=lambda row: lengths[row], reverse=True)
    if layout is Layout.PACKED:
        passes = _packed(by_length, lengths, micro_tokens, num_devices)
    else:
        share = math.ceil(sum(width_of(lengths[row], pad_multiple) for row in rows) / num_devices)
        passes = _padded(by_length, lengths, min(micro_tokens, share), pad_multiple)
    passes.sort(key=lambda one: sum(lengths[row] for row in one), reverse=True)  # like loads at the same time
    num_passes = math.ceil(len(passes) / num_devices)
    passes += [[] for _ in range(num_passes * num_devices - len(passes))]
    return [passes[device::num_devices] for device in range(num_devices)]


def width_of(longest: int, pad_multiple: int) -> int:
    """Width of a padded batch whose longest row has so many tokens."""
    return math.ceil(longest / pad_multiple) * pad_multiple


def _epochs(num_rows: int, num_epochs: float, seed: int) -> NDArray[np.int64]:
    if not num_rows:
        raise ValueError("there are no rows to plan steps of")
    shuffles = [np.random.default_rng([seed, epoch]).permutation(num_rows) for epoch in range(math.ceil(num_epochs))]
    return np.concatenate(shuffles)[: max(1, round(num_rows * num_epochs))]


def _token_bounds(lengths: Sequence[int], size: int) -> list[int]:
    """Where steps of at most `size` tokens, but at least one row, begin; and the end."""
    bounds, tokens = [0], 0
    for position, length in enumerate(lengths):
        if tokens and tokens + length > size:
            bounds.append(position)
            tokens = 0
        tokens += length
    return [*bounds, len(lengths)]


def _packed(by_length: Sequence[int], lengths: Sequence[int], capacity: int, num_devices: int) -> list[MicroBatch]:
    """Bins of at most `capacity` tokens; as many as best-fit decreasing needs, rounded up to the devices, and level."""
    fitted = _best_fit(by_length, lengths, capacity)
    num_bins = math.ceil(len(fitted) / num_devices) * num_devices
    levelled = _level(by_length, lengths, num_bins)
    fits = all(sum(lengths[row] for row in one) <= capacity for one in levelled)
    return levelled if fits else fitted


def _best_fit(by_length: Sequence[int], lengths: Sequence[int], capacity: int) -> list[MicroBatch]:
    """Each row, the longest first, into the fullest bin that still holds it."""
    bins: list[MicroBatch] = []
    room: list[tuple[int, ...]] = []  # (tokens left, bin), sorted
    for row in by_length:
        length = lengths[row]
        at = bisect_left(room, (length,))
        left, target = room.pop(at) if at < len(room) else (capacity, len(bins))
        if target == len(bins):
            bins.append([])
        bins[target].append(row)
        rest = (left - length, target)
        room.insert(bisect_left(room, rest), rest)
    return bins


def _level(by_length: Sequence[int], lengths: Sequence[int], num_bins: int) -> list[MicroBatch]:
    """Each row, the longest first, into the emptiest bin; a bin without rows is left out."""
    bins: list[MicroBatch] = [[] for _ in range(num_bins)]
    loads = [(0, index) for index in range(num_bins)]
    for row in by_length:
        load, index = loads[0]
        bins[index].append(row)
        heapq.heapreplace(loads, (load + lengths[row], index))
    return [one for one in bins if one]


def _padded(by_length: Sequence[int], lengths: Sequence[int], capacity: int, pad_multiple: int) -> list[MicroBatch]:
    """Runs of like length whose padded area stays within `capacity`."""
    batches: list[MicroBatch] = []
    start = 0
    while start < len(by_length):
        width = width_of(lengths[by_length[start]], pad_multiple)
        end = start + max(1, capacity // width)
        batches.append(list(by_length[start:end]))
        start = end
    return batches
