"""Two optimizers behind one face: which parameter goes where, and that a scheduler and a checkpoint reach both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from platolm.dyadic import SOCRATIC
from tests.unit.training.conftest import TINY_SHAPE
from training.checkpoints import new_model
from training.optimizer import MuonWithAdamW, new_optimizer
from training.recipes import SftRecipe

RECIPE = SftRecipe(
    name="x",
    profiles=(SOCRATIC,),
    num_passes=1,
    learning_rate=1e-3,
    max_minutes=1,
    muon_learning_rate=0.02,
)


def test_muon_gets_the_hidden_matrices_and_adamw_everything_else_once() -> None:
    model = new_model(TINY_SHAPE, seed=1)
    optimizer = new_optimizer(model, RECIPE)
    assert isinstance(optimizer, MuonWithAdamW)
    hidden, rest = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    names = {id(p): name for name, p in model.named_parameters()}
    assert hidden | rest == set(names)
    assert not hidden & rest
    assert {names[i].split(".")[-2] for i in hidden} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert any("embed_tokens" in names[i] for i in rest)


def test_without_a_rate_for_muon_it_is_adamw_alone() -> None:
    assert isinstance(new_optimizer(new_model(TINY_SHAPE, seed=1), replace(RECIPE, muon_learning_rate=0.0)), AdamW)


def test_a_scheduler_scales_both_rates_also_after_a_state_is_loaded() -> None:
    model = new_model(TINY_SHAPE, seed=1)
    optimizer = new_optimizer(model, RECIPE)
    scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.load_state_dict(optimizer.state_dict())
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.01), pytest.approx(5e-4)]
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
