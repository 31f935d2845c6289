"""Between two models: every share is measured, the best stays, and the start is as it was."""

from __future__ import annotations

import torch
from peft import LoraConfig, get_peft_model

from tests.unit.training.conftest import tiny_model
from training.blending import SHARES, keep_best_blend, start_of_adapters


def test_the_share_with_the_lowest_loss_stays_in_the_model() -> None:
    start, tuned = tiny_model(1), tiny_model(2)
    untouched = [p.detach().clone() for p in start.parameters()]
    ends = [
        (a.detach().clone(), b.detach().clone()) for a, b in zip(start.parameters(), tuned.parameters(), strict=True)
    ]
    losses = iter([4.0, 3.5, 3.6, 3.7, 3.8, 3.9])
    chosen = keep_best_blend(tuned, dict(start.named_parameters()), lambda: next(losses))
    assert chosen == {
        "share_of_the_way": 0.4,
        "held_out_loss_by_share": dict(zip(map(str, SHARES), [4.0, 3.5, 3.6, 3.7, 3.8, 3.9], strict=True)),
        "held_out_loss": 3.5,
    }
    for (a, b), kept in zip(ends, tuned.parameters(), strict=True):
        torch.testing.assert_close(kept, 0.6 * a + 0.4 * b)
    assert all(torch.equal(p, old) for p, old in zip(start.parameters(), untouched, strict=True))


def test_each_share_is_measured_with_the_weights_in_place() -> None:
    start, tuned = tiny_model(1), tiny_model(2)
    first, last = (next(iter(model.parameters())).detach().clone() for model in (start, tuned))
    seen: list[torch.Tensor] = []

    def measure() -> float:
        seen.append(next(iter(tuned.parameters())).detach().clone())
        return float(len(seen))

    keep_best_blend(tuned, dict(start.named_parameters()), measure)
    for share, weights in zip(SHARES, seen, strict=True):
        torch.testing.assert_close(weights, torch.lerp(first, last, share))


def test_adapters_go_from_no_change_to_theirs() -> None:
    config = LoraConfig(r=2, target_modules="all-linear", task_type="CAUSAL_LM", init_lora_weights=False)
    model = get_peft_model(tiny_model(1), config)
    ids = torch.tensor([[1, 5, 6, 7]])
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    with torch.no_grad(), model.disable_adapter():
        base = model(input_ids=ids).logits
    assert not torch.allclose(model(input_ids=ids).logits, base)
    losses = iter([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    chosen = keep_best_blend(model, start_of_adapters(model), lambda: next(losses))
    assert chosen["share_of_the_way"] == 0.25
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(parameter, 0.25 * before[name] if ".lora_B." in name else before[name])
