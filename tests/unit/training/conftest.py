"""A tokenizer, a tiny Llama and invented dialogues for training tests."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.bpe import BOS_ID, EOS_ID, PAD_ID, train_tokenizer
from training.models import new_model
from training.recipes.recipe import ModelShape

TINY_SHAPE = ModelShape(vocab_size=320, hidden_size=32, intermediate_size=64, num_layers=1, num_heads=1, context=256)

QUESTIONS = ("Which tea is green?", "How far is the sea?", "Who sings at night?", "What is bread made of?")
ANSWERS = ("The green one.", "An hour on foot.", "The nightingale does.", "Flour, water and time.")


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tiny-tokenizer")
    train_tokenizer([*QUESTIONS, *ANSWERS], folder, vocab_size=TINY_SHAPE.vocab_size, context=TINY_SHAPE.context)
    return folder


@pytest.fixture
def tiny_tokenizer(tiny_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(tiny_tokenizer_folder)


def tiny_model(seed: int = 1) -> LlamaForCausalLM:
    """Random weights for the tiny tokenizer."""
    return new_model(TINY_SHAPE, seed=seed, bos_id=BOS_ID, eos_id=EOS_ID, pad_id=PAD_ID)
