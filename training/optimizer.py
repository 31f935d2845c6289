"""Muon for the hidden matrices and AdamW for embeddings and norms, as one optimizer for the trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import AdamW, Muon, Optimizer

from training.recipes.recipe import Optimizer as OptimizerSettings


class MuonWithAdamW(Optimizer):
    """Steps both; its parameter groups are theirs, so a scheduler scales both learning rates alike.

    Muon (Jordan et al. 2024) takes well under two thirds of AdamW's steps from random weights; it is defined for
    matrices inside the network, not for embeddings.
    """

    def __init__(self, muon: Muon, adamw: AdamW) -> None:
        self._parts: tuple[Optimizer, ...] = (muon, adamw)
        super().__init__(
            [parameter for part in self._parts for g in part.param_groups for parameter in g["params"]], {}
        )
        self._share_groups()

    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        assert closure is None, "the trainer steps without a closure"
        for part in self._parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self._parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        for part, state in zip(self._parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._share_groups()

    def _share_groups(self) -> None:
        self.param_groups = [group for part in self._parts for group in part.param_groups]


def new_optimizer(model: torch.nn.Module, settings: OptimizerSettings) -> Optimizer:
    """AdamW, or Muon on every matrix that is not an embedding and AdamW on the rest."""
    parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    use_muon = settings.name == "muon"
    hidden = [p for name, p in parameters if use_muon and p.ndim == 2 and "embed" not in name and "lm_head" not in name]
    hidden_ids = {id(p) for p in hidden}
    adamw = AdamW(
        [p for _, p in parameters if id(p) not in hidden_ids],
        lr=settings.learning_rate,
        betas=settings.betas,
        weight_decay=settings.weight_decay,
        fused=True,
    )
    if not use_muon:
        return adamw
    return MuonWithAdamW(Muon(hidden, lr=settings.muon_learning_rate, weight_decay=settings.muon_weight_decay), adamw)
