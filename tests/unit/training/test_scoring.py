"""Losses are of content and eos alone, and bits a byte are of the content's bytes."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.dyadic import IGNORE_INDEX, PLATOLM, SOCRATIC, Turn
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.training.conftest import TINY_SHAPE, tiny_model
from training.data.dialogues import encode_turns
from training.ngram import KneserNey
from training.scoring import bits_per_byte, model_nats, nats_per_token, ngram_nats, targets_of


@pytest.fixture
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def turns(tokenizer: HubTokenizer, *texts: str) -> list[Turn]:
    messages = tuple(Message((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(texts))
    return encode_turns(Conversation("x", messages), tokenizer)


def test_targets_are_one_sides_content_and_eos(tokenizer: HubTokenizer) -> None:
    (target,) = targets_of([turns(tokenizer, "Café?", "Non", "Oh")], SOCRATIC, tokenizer, context=1024)
    labels = [label for label in target.row.labels if label != IGNORE_INDEX]
    assert tokenizer.decode(labels) == "Café?Oh"
    assert labels.count(tokenizer.eos_id) == 2
    assert tokenizer.bos_id not in labels
    assert target.num_tokens == len(labels)
    assert target.num_bytes == len("Café?Oh".encode())


def test_only_whole_turns_that_fit_are_measured(tokenizer: HubTokenizer) -> None:
    dialogue = turns(tokenizer, "Hi", "x" * 100, "more", "y" * 500)
    (target,) = targets_of([dialogue], PLATOLM, tokenizer, context=500)
    assert target.num_bytes == 100
    assert len(target.row.input_ids) <= 500
    assert targets_of([turns(tokenizer, "only a question")], PLATOLM, tokenizer, context=500) == []


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_uniform_model_has_the_entropy_of_its_vocabulary(tiny_tokenizer: HubTokenizer) -> None:
    model = tiny_model(1)
    model.model.embed_tokens.weight.data.zero_()
    targets = targets_of([turns(tiny_tokenizer, "Which tea?", "Green.")], PLATOLM, tiny_tokenizer, context=256)
    nats = model_nats(model, targets)
    assert nats_per_token(nats, targets) == pytest.approx(math.log(TINY_SHAPE.vocab_size), rel=1e-4)
    expected = targets[0].num_tokens * math.log2(TINY_SHAPE.vocab_size) / len("Green.")
    assert bits_per_byte(nats, targets) == pytest.approx(expected, rel=1e-4)


def test_an_ngram_is_measured_on_the_same_labels(tokenizer: HubTokenizer) -> None:
    (target,) = targets_of([turns(tokenizer, "Hi", "Hi there")], PLATOLM, tokenizer, context=1024)
    ngram = KneserNey.trained([target.row.input_ids], order=5, vocab_size=tokenizer.vocab_size)
    positions = [i for i, label in enumerate(target.row.labels) if label != IGNORE_INDEX]
    assert ngram_nats(ngram, [target]) == [pytest.approx(sum(ngram.nats(target.row.input_ids, i) for i in positions))]
