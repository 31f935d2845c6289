"""Go only part of the way from the base to a fine-tune: a small corpus seen often is soon learnt by heart.

Weights between the two ends are often better than either (Wortsman et al. 2022, arXiv 2109.01903). How far to go is
chosen on the run's own held-out rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.nn import Module

SHARES = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def keep_best_blend(model: Module, start: Mapping[str, torch.Tensor], measure: Callable[[], float]) -> dict[str, Any]:
    """Leave `model` with the weights between `start` and itself that measure lowest; what was chosen, and the losses.

    Args:
        model: the fine-tune.
        start: the weights it was tuned from, by its parameters' names.
        measure: the loss of `model` as it is when called.
    """
    tuned = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    losses: dict[float, float] = {}
    for share in SHARES:
        _set_between(model, start, tuned, share)
        losses[share] = measure()
    best = min(losses, key=lambda share: losses[share])
    _set_between(model, start, tuned, best)
    by_share = {str(share): round(loss, 4) for share, loss in losses.items()}
    return {"share_of_the_way": best, "held_out_loss_by_share": by_share, "held_out_loss": losses[best]}


def start_of_adapters(model: Module) -> dict[str, torch.Tensor]:
    """What a model with low-rank adapters was tuned from: the second factor is zero, so that they change nothing.

    Between there and their end only that factor is scaled, and so is their product with it.
    """
    return {
        name: torch.zeros_like(parameter) if ".lora_B." in name else parameter.detach()
        for name, parameter in model.named_parameters()
    }


@torch.no_grad()
def _set_between(
    model: Module, start: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor], share: float
) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.lerp(start[name].to(tuned[name]), tuned[name], share))
