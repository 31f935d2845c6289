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


def keep_best_blend(model: Module, start: Module, measure: Callable[[], float]) -> dict[str, Any]:
    """Leave `model` with the weights between `start` and itself that measure lowest; what was chosen, and the losses.

    Args:
        model: the fine-tune.
        start: what it was tuned from.
        measure: the loss of `model` as it is when called.
    """
    tuned = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    origin = dict(start.named_parameters())
    losses: dict[float, float] = {}
    for share in SHARES:
        _set_between(model, origin, tuned, share)
        losses[share] = measure()
    best = min(losses, key=lambda share: losses[share])
    _set_between(model, origin, tuned, best)
    by_share = {str(share): round(loss, 4) for share, loss in losses.items()}
    return {"share_of_the_way": best, "held_out_loss_by_share": by_share, "held_out_loss": losses[best]}


@torch.no_grad()
def _set_between(
    model: Module, start: Mapping[str, torch.Tensor], tuned: Mapping[str, torch.Tensor], share: float
) -> None:
    for name, parameter in model.named_parameters():
        parameter.copy_(torch.lerp(start[name].to(tuned[name]), tuned[name], share))
