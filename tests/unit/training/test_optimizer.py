"""Two optimizers behind one face: which parameter goes where, and that a scheduler and a checkpoint reach both."""

from __future__ import annotations

import pytest
import torch
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from tests.unit.training.conftest import tiny_model
from training.optimizer import MuonWithAdamW, new_optimizer
from training.recipes.recipe import Optimizer

MUON = Optimizer(name="muon", learning_rate=1e-3, muon_learning_rate=0.02)


def test_muon_gets_the_hidden_matrices_and_adamw_everything_else_once() -> None:
    model = tiny_model(1)
    optimizer = new_optimizer(model, MUON)
    assert isinstance(optimizer, MuonWithAdamW)
    hidden, rest = ({id(p) for p in group["params"]} for group in optimizer.param_groups)
    names = {id(p): name for name, p in model.named_parameters()}
    assert hidden | rest == set(names)
    assert not hidden & rest
    assert {names[i].split(".")[-2] for i in hidden} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    assert any("embed_tokens" in names[i] for i in rest)


def test_adamw_is_the_default() -> None:
    assert isinstance(new_optimizer(tiny_model(1), Optimizer()), AdamW)


def test_a_scheduler_scales_both_rates_also_after_a_state_is_loaded() -> None:
    model = tiny_model(1)
    optimizer = new_optimizer(model, MUON)
    scheduler = LambdaLR(optimizer, lambda step: 0.5**step)
    optimizer.load_state_dict(optimizer.state_dict())
    model(input_ids=torch.tensor([[1, 2, 3]]), labels=torch.tensor([[1, 2, 3]])).loss.backward()
    before = [p.detach().clone() for p in model.parameters()]
    optimizer.step()
    scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.01), pytest.approx(5e-4)]
    assert all(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
