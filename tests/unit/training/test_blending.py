"""Between two models: every share is measured, the best stays, and the start is as it was."""

from __future__ import annotations

import torch

from tests.unit.training.conftest import tiny_model
from training.blending import SHARES, keep_best_blend


def test_the_share_with_the_lowest_loss_stays_in_the_model() -> None:
    start, tuned = tiny_model(1), tiny_model(2)
    untouched = [p.detach().clone() for p in start.parameters()]
    ends = [
        (a.detach().clone(), b.detach().clone()) for a, b in zip(start.parameters(), tuned.parameters(), strict=True)
    ]
    losses = iter([4.0, 3.5, 3.6, 3.7, 3.8, 3.9])
    chosen = keep_best_blend(tuned, start, lambda: next(losses))
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

    keep_best_blend(tuned, start, measure)
    for share, weights in zip(SHARES, seen, strict=True):
        torch.testing.assert_close(weights, torch.lerp(first, last, share))
