"""Residual dropout: in training only, inside its context only, and below adapters too."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model

from tests.unit.training.conftest import tiny_model
from training.dropout import residual_dropout

IDS = torch.tensor([[1, 5, 6, 7]])


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(input_ids=IDS).logits
    return found


@pytest.mark.parametrize("adapted", [False, True])
def test_it_drops_in_training_and_nowhere_else(adapted: bool) -> None:
    model: Any = tiny_model(1)
    if adapted:
        model = get_peft_model(model, LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM"))
    plain = logits(model.eval())
    with residual_dropout(model, 0.5):
        assert torch.equal(logits(model), plain), "an evaluation is whole"
        model.train()
        assert not torch.allclose(logits(model), plain)
        assert not torch.allclose(logits(model), logits(model)), "a new mask each time"
    torch.testing.assert_close(logits(model), plain)


def test_none_is_no_hook_at_all() -> None:
    model = tiny_model(1).train()
    with residual_dropout(model, 0):
        torch.testing.assert_close(logits(model), logits(model.eval()))
