"""The head over some positions gives those positions' logits and the same gradients, whatever the batch's shape."""

from __future__ import annotations

import pytest
import torch

from tests.unit.training.conftest import TINY_SHAPE, tiny_model
from training.loss import CompactedHead, full_logits, labels_at, nats

IDS = torch.arange(3, 3 + 2 * 9).view(2, 9)
POSITIONS = torch.tensor([1, 2, 7, 9, 12])
TARGETS = torch.tensor([5, 6, 7, 8, 9])


def test_compacted_logits_are_the_full_ones_and_so_are_all_gradients() -> None:
    gradients = []
    for compact in (False, True):
        model = tiny_model()
        head = CompactedHead(model)
        read = head.logits if compact else full_logits
        logits = read(model, POSITIONS, input_ids=IDS)
        assert logits.shape == (5, TINY_SHAPE.vocab_size)
        nats(logits, TARGETS).sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    assert len(gradients[0]) > 5
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name], msg=name)


def test_outside_of_a_call_the_head_reads_every_position() -> None:
    model = tiny_model().train(False)
    head = CompactedHead(model)
    with torch.inference_mode():
        whole = model(input_ids=IDS).logits
        torch.testing.assert_close(head.logits(model, POSITIONS, input_ids=IDS), whole.flatten(0, 1)[POSITIONS])
        assert model(input_ids=IDS).logits.shape == whole.shape


def test_a_failed_forward_leaves_the_head_as_it_was() -> None:
    model = tiny_model().train(False)
    head = CompactedHead(model)
    with pytest.raises(IndexError), torch.inference_mode():
        head.logits(model, torch.tensor([99]), input_ids=IDS)
    assert model(input_ids=IDS).logits.shape == (2, 9, TINY_SHAPE.vocab_size)


def test_no_labels_are_no_loss_and_no_gradient_but_a_backward_pass() -> None:
    model = tiny_model()
    nothing = torch.tensor([], dtype=torch.int64)
    loss = nats(CompactedHead(model).logits(model, nothing, input_ids=IDS), nothing).sum()
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.item() == 0
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


def test_labels_for_trls_head_stand_one_after_their_position() -> None:
    labels = labels_at(torch.tensor([0, 4]), torch.tensor([7, 8]), torch.Size((2, 3)))
    assert labels.tolist() == [[-100, 7, -100], [-100, -100, 8]]
