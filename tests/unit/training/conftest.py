"""A tokenizer, a tiny Llama and invented dialogues for training tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.bpe import train_tokenizer
from training.recipes import ModelShape

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
