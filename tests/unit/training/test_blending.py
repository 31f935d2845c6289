"""Between two models: the ends are the ends, the middle is the mean, and the lowest loss is chosen."""

from __future__ import annotations

import torch

from tests.unit.training.conftest import TINY_SHAPE
from training.blending import best_share, blended
from training.checkpoints import new_model


def test_weights_lie_on_the_line_between_the_two() -> None:
    start, tuned = new_model(TINY_SHAPE, seed=1), new_model(TINY_SHAPE, seed=2)
    before = [p.detach().clone() for p in tuned.parameters()]
    for share in (0.0, 0.5, 1.0):
        for a, b, between in zip(
            start.parameters(), tuned.parameters(), blended(start, tuned, share).parameters(), strict=True
        ):
            torch.testing.assert_close(between, (1 - share) * a + share * b)
    assert all(torch.equal(p, old) for p, old in zip(tuned.parameters(), before, strict=True))


def test_the_share_with_the_lowest_loss_is_chosen() -> None:
    assert best_share({0.25: 4.0, 0.5: 3.9, 1.0: 4.1}) == 0.5
