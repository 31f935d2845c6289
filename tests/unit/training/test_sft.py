"""The real trainer: padding carries no loss, the schedule reaches its end, and a short run learns labels alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.dyadic import IGNORE_INDEX, SOCRATIC, Composed
from platolm.tokenizer import HubTokenizer
from tests.unit.training.conftest import ANSWERS, QUESTIONS, TINY_SHAPE
from training.checkpoints import new_model
from training.dropout import residual_dropout
from training.recipes import SftRecipe
from training.rows import build_rows, encode_turns
from training.sft import MaskedTrainer, RowCollator, Schedule, as_dataset, sft_config, train

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]

RECIPE = SftRecipe(
    name="tiny",
    profiles=(SOCRATIC,),
    num_passes=1,
    learning_rate=1e-2,
    max_minutes=5,
    batch_rows=4,
    num_evaluations=1,
)


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hub(tiny_tokenizer_folder: Path) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    return tokenizer


def dialogue_rows(tokenizer: HubTokenizer, num: int) -> list[Composed]:
    conversations = [
        Conversation("x", (Message(USER, QUESTIONS[i % 4]), Message(ASSISTANT, ANSWERS[i % 4]))) for i in range(num)
    ]
    turns = [encode_turns(conversation, tokenizer) for conversation in conversations]
    return build_rows(turns, SOCRATIC, tokenizer, max_length=TINY_SHAPE.context).rows


def test_the_collator_pads_on_the_right_without_loss() -> None:
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, 7]}, {"input_ids": [8] * 9, "labels": [8] * 9}]
    batch = RowCollator(pad_id=3, multiple=8)(rows)
    assert batch["input_ids"].shape == batch["labels"].shape == batch["position_ids"].shape == (2, 16)
    assert batch["input_ids"][0].tolist() == [5, 6, 7] + [3] * 13
    assert batch["labels"][0].tolist() == [-100, 6, 7] + [IGNORE_INDEX] * 13
    assert batch["labels"][1].tolist() == [8] * 9 + [IGNORE_INDEX] * 7
    assert batch["position_ids"][1].tolist() == list(range(16))


def test_padding_changes_nothing_before_it() -> None:
    model = new_model(TINY_SHAPE, seed=1).train(False)
    ids = [1, 50, 60, 70, 2]
    row = {"input_ids": ids, "labels": ids}
    alone = RowCollator(3, multiple=5)([row])
    padded = RowCollator(3, multiple=32)([row])
    with torch.inference_mode():
        short = model(input_ids=alone["input_ids"], position_ids=alone["position_ids"]).logits
        long = model(input_ids=padded["input_ids"], position_ids=padded["position_ids"]).logits
    torch.testing.assert_close(short, long[:, :5])


def test_the_learning_rate_warms_up_and_reaches_its_end_by_steps() -> None:
    schedule = Schedule(RECIPE, 100, Clock())
    shares = [schedule.lr_share(step) for step in range(101)]
    assert shares[0] == 0
    assert max(shares) == pytest.approx(1, abs=1e-3)
    assert shares[100] == pytest.approx(0)
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_a_slow_machine_ends_by_the_clock_with_the_same_last_learning_rate() -> None:
    clock = Clock()
    schedule = Schedule(RECIPE, 100, clock)
    clock.now_s = 2.5 * 60
    assert schedule.progress(3) == pytest.approx(0.5)
    clock.now_s = 6 * 60
    assert schedule.progress(7) == 1
    assert schedule.lr_share(7) == pytest.approx(0)


def test_a_floor_under_the_learning_rate_is_kept() -> None:
    recipe = SftRecipe(
        name="x", profiles=(SOCRATIC,), num_passes=1, learning_rate=1e-3, max_minutes=1, min_lr_share=0.1
    )
    assert Schedule(recipe, 10, Clock()).lr_share(10) == pytest.approx(0.1)


def test_dropout_is_active_in_training_alone_and_leaves_no_trace() -> None:
    model = new_model(TINY_SHAPE, seed=1)
    names = list(model.state_dict())
    ids = torch.arange(10).unsqueeze(0)

    def logits(training: bool) -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = model.train(training)(input_ids=ids).logits
        return result

    plain = logits(True)
    with residual_dropout(model, 0.5):
        assert not torch.equal(logits(True), plain)
        torch.testing.assert_close(logits(False), plain)
        assert list(model.state_dict()) == names
    torch.testing.assert_close(logits(True), plain)


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("muon_learning_rate", [0.0, 0.02], ids=["adamw", "muon"])
def test_a_short_run_lowers_the_loss_on_labels(
    muon_learning_rate: float, tiny_tokenizer: HubTokenizer, hub: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    model = new_model(TINY_SHAPE, seed=1)
    lines: list[dict[str, float]] = []
    rows = dialogue_rows(tiny_tokenizer, 80)
    recipe = replace(RECIPE, muon_learning_rate=muon_learning_rate)
    state = train(model, hub, rows, rows[:4], recipe, tmp_path, report=lines.append, compile_model=False)
    assert state.global_step == 20
    assert any("loss" in line for line in lines)
    assert state.best_metric is not None
    assert state.best_metric < 4  # random weights begin at the vocabulary's logarithm, 5.8


@pytest.mark.usefixtures("one_thread")
def test_tokens_without_a_label_do_not_touch_the_loss(
    tiny_tokenizer: HubTokenizer, hub: PreTrainedTokenizerBase, tmp_path: Path
) -> None:
    """The trainer's loss on a batch is the mean over its labels, whatever the ids of the unlabelled next tokens."""
    model = new_model(TINY_SHAPE, seed=1).train(False)
    rows = dialogue_rows(tiny_tokenizer, 4)
    trainer = MaskedTrainer(
        model=model,
        args=sft_config(RECIPE, 1, tmp_path, compile_model=False),
        train_dataset=as_dataset(rows),
        eval_dataset=as_dataset(rows),
        processing_class=hub,
        data_collator=RowCollator(3),
    )
    batch = RowCollator(3)([{"input_ids": row.input_ids, "labels": row.labels} for row in rows])
    with torch.inference_mode():
        loss = trainer.compute_loss(model, dict(batch))
        logits = model(input_ids=batch["input_ids"]).logits
    by_hand = [
        -torch.log_softmax(logits[r, i - 1], dim=-1)[label].item()
        for r, row in enumerate(rows)
        for i, label in enumerate(row.labels)
        if label != IGNORE_INDEX
    ]
    assert float(loss) == pytest.approx(sum(by_hand) / len(by_hand), rel=1e-4)
