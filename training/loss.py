"""Cross entropy over the labels alone: the head is the widest matrix of the model, and most positions have no label."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import Module
from torch.nn.functional import cross_entropy


class CompactedHead:
    """Lets a causal language model's head read some positions only.

    A hook before the head picks the rows of the hidden states, so it works for every architecture whose
    `get_output_embeddings` is called on hidden states, inside the model's own forward: FSDP has gathered the head's
    weights there, and gradients flow as always.
    """

    def __init__(self, model: Module) -> None:
        head = model.get_output_embeddings()  # type: ignore[operator]
        if head is None:
            raise ValueError(f"{type(model).__name__} has no output embeddings")
        self._positions: Tensor | None = None
        head.register_forward_pre_hook(self._pick)

    def logits(self, model: Module, positions: Tensor, **inputs: Any) -> Tensor:
        """Logits [n, vocabulary] at `positions` [n] of the flattened batch."""
        self._positions = positions
        try:
            result: Tensor = model(**inputs, use_cache=False).logits
        finally:
            self._positions = None
        return result

    def _pick(self, head: Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        if self._positions is None:
            return None
        hidden, *rest = arguments
        return (hidden.flatten(0, 1)[self._positions], *rest)


def nats(logits: Tensor, targets: Tensor) -> Tensor:
    """−log P of each target, float32 [n]."""
    return cross_entropy(logits.float(), targets, reduction="none")


def full_logits(model: Module, positions: Tensor, **inputs: Any) -> Tensor:
    """The same as `CompactedHead.logits`, by way of every position's logits."""
    logits: Tensor = model(**inputs, use_cache=False).logits
    return logits.flatten(0, 1)[positions]


def labels_at(positions: Tensor, targets: Tensor, shape: torch.Size) -> Tensor:
    """The labels [rows, width] that TRL's own head takes: `targets` one after `positions`, -100 elsewhere."""
    labels = torch.full(shape, -100, dtype=targets.dtype, device=targets.device)
    labels.view(-1)[positions + 1] = targets
    return labels
