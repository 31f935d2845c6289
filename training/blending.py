"""Go only part of the way from the base to a fine-tune: a small corpus seen often is soon learnt by heart.

Weights between the two ends are often better than either (Wortsman et al. 2022, arXiv 2109.01903). How far to go is
chosen on the validation split, never on held-out text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING

from training.scoring import Target, model_nats, nats_per_token

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

SHARES = (0.25, 0.4, 0.55, 0.7, 0.85, 1.0)


def blended(start: LlamaForCausalLM, tuned: LlamaForCausalLM, share: float) -> LlamaForCausalLM:
    """A model whose weights lie `share` of the way from `start` to `tuned`."""
    import torch

    result = deepcopy(tuned)
    origin = dict(start.named_parameters())
    with torch.no_grad():
        for name, parameter in result.named_parameters():
            parameter.lerp_(origin[name], 1 - share)
    return result


def losses_by_share(
    start: LlamaForCausalLM, tuned: LlamaForCausalLM, targets: Sequence[Target]
) -> Mapping[float, float]:
    """Nats a token on `targets` for each of `SHARES`."""
    return {s: nats_per_token(model_nats(blended(start, tuned, s), targets), targets) for s in SHARES}


def best_share(losses: Mapping[float, float]) -> float:
    """The share with the lowest loss."""
    return min(losses, key=lambda share: losses[share])
