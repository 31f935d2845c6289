"""One gradient, however the step is cut: packing, padding, accumulation, head, recomputation, one device or two."""

from __future__ import annotations

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from transformers import PreTrainedModel

from platolm.dyadic import IGNORE_INDEX
from tests.integration.training.conftest import CONTEXT, NewRun, evaluations, finished, gradients, run_ranks, weights
from training.data import prepare
from training.models import load_model
from training.recipes.recipe import Batch, Lora, Memory, Model, Schedule
from training.run_folder import RunFolder

pytestmark = [pytest.mark.slow]

ONE_STEP = {"schedule": Schedule(max_steps=1)}

PADDED = Batch(size=16, layout="padded", micro_tokens=4 * CONTEXT, pad_multiple=8)
PACKED = PADDED.model_copy(update={"layout": "packed"})
ONE_ROW_A_PASS = PADDED.model_copy(update={"micro_tokens": CONTEXT})
ONE_PASS = PADDED.model_copy(update={"micro_tokens": 64 * CONTEXT})


def assert_same_gradients(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    """Every parameter's, relative to its largest entry."""
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert gradient.abs().max() > 0, name
        torch.testing.assert_close(
            gradient / gradient.abs().max(), other[name] / gradient.abs().max(), atol=1e-5, rtol=0
        )


def test_every_cut_of_a_step_has_the_same_gradient_on_one_device(new_run: NewRun) -> None:
    variants: dict[str, dict[str, Any]] = {
        "padded": {"batch": PADDED},
        "packed": {"batch": PACKED},
        "one_row_a_pass": {"batch": ONE_ROW_A_PASS},
        "one_pass": {"batch": ONE_PASS},
        "full_head": {"memory": Memory(bf16=False, head="full")},
        "fused_head": {"memory": Memory(bf16=False, head="fused")},
        "recomputed": {"memory": Memory(bf16=False, checkpointing="full")},
        "partly_recomputed": {"memory": Memory(bf16=False, checkpointing="selective"), "batch": PACKED},
    }
    runs = {name: new_run(name, **ONE_STEP | groups) for name, groups in variants.items()}
    finished(run_ranks(*runs.values(), options=("--gradients",)))
    reference = gradients(runs["padded"])
    assert any("lm_head" in name for name in reference)
    for run in runs.values():
        assert_same_gradients(reference, gradients(run))


def test_held_out_loss_is_a_mean_over_tokens_and_is_told_by_turn(new_run: NewRun, untied_base: Path) -> None:
    runs = [new_run(name, batch=batch, **ONE_STEP) for name, batch in (("padded", PADDED), ("packed", PACKED))]
    finished(run_ranks(*runs))
    by_turn = nats_by_turn(runs[0], load_model(untied_base))
    every = [nats for some in by_turn.values() for nats in some]
    for run in runs:
        result = run.result()
        assert result is not None
        assert result["held_out_loss_before"] == pytest.approx(sum(every) / len(every), rel=1e-5)
        first = evaluations(run)[0]
        for turn, some in by_turn.items():
            assert first[f"eval_loss_turn_{turn + 1}"] == pytest.approx(sum(some) / len(some), rel=1e-5)
        assert first["eval_perplexity"] == pytest.approx(math.exp(result["held_out_loss_before"]))
    assert len(by_turn) > 2


def nats_by_turn(run: RunFolder, model: PreTrainedModel) -> dict[int, list[float]]:
    """−log P of each label of the held-out rows, one row at a time, by the target turn that it belongs to."""
    recipe = run.recipe()
    rows = prepare(recipe.data, recipe.side, recipe.model.path, run.path / "cache" / "platolm" / "rows").held_out
    found: dict[int, list[float]] = defaultdict(list)
    for row in rows:
        with torch.inference_mode():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0]
        turn = row["first_turn"] - 1
        for position, label in enumerate(row["labels"]):
            if label == IGNORE_INDEX:
                continue
            turn += row["labels"][position - 1] == IGNORE_INDEX
            found[turn].append(-torch.log_softmax(logits[position - 1], dim=-1)[label].item())
    return found


@pytest.mark.parametrize("layout", ["padded", "packed"])
@pytest.mark.parametrize("base", ["tied_base", "untied_base"])
def test_two_devices_under_fsdp2_have_the_gradient_of_one(
    base: str, layout: str, new_run: NewRun, request: pytest.FixtureRequest
) -> None:
    """Every parameter's, the head's among them, tied to the embedding or not."""
    folder: Path = request.getfixturevalue(base)
    groups = ONE_STEP | {
        "model": Model(path=str(folder)),
        "batch": PADDED.model_copy(update={"layout": layout, "micro_tokens": CONTEXT}),
    }
    alone, together = new_run("alone", **groups), new_run("together", **groups)
    finished(run_ranks(alone, options=("--gradients",)))
    finished(run_ranks(together, num_ranks=2, options=("--gradients",)))
    assert_same_gradients(gradients(alone), gradients(together))
    assert list(together.checkpoints.glob("checkpoint-1/*/__1_0.distcp")), "weights were not sharded"


def test_two_devices_under_ddp_have_the_gradient_and_the_export_of_one(new_run: NewRun) -> None:
    groups: dict[str, Any] = ONE_STEP | {"memory": Memory(bf16=False, sharding="ddp"), "batch": ONE_ROW_A_PASS}
    alone, together = new_run("alone", **groups), new_run("together", **groups)
    finished(run_ranks(alone, options=("--gradients",)))
    finished(run_ranks(together, num_ranks=2, options=("--gradients",)))
    assert_same_gradients(gradients(alone), gradients(together))


def test_a_sharded_run_exports_what_a_run_on_one_device_does(new_run: NewRun) -> None:
    alone, together = new_run("alone"), new_run("together")
    finished(run_ranks(alone))
    finished(run_ranks(together, num_ranks=2))
    assert weights(alone).keys() == weights(together).keys()
    for name, weight in weights(alone).items():
        torch.testing.assert_close(weight, weights(together)[name], atol=2e-2, rtol=0, msg=name)


def test_adapters_are_trained_alone_sharded_or_not_and_exported_merged(new_run: NewRun, untied_base: Path) -> None:
    model = Model(path=str(untied_base), lora=Lora(rank=4, alpha=8))
    alone, together = new_run("alone", model=model), new_run("together", model=model)
    finished(run_ranks(alone))
    finished(run_ranks(together, num_ranks=2))
    assert (alone.adapters / "adapter_model.safetensors").is_file()
    base = load_file(untied_base / "model.safetensors")
    merged = weights(alone)
    assert merged.keys() == base.keys()
    changed = {name for name, weight in merged.items() if not torch.equal(weight, base[name].bfloat16())}
    assert {name.split(".")[-2] for name in changed} == {
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj",
    }  # fmt: skip
    for name, weight in merged.items():
        torch.testing.assert_close(weight, weights(together)[name], atol=2e-2, rtol=0, msg=name)
