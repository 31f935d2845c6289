"""A small trained tokenizer, as a model folder and loaded; the simulation, uncompiled."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from platolm.dyadic import PLATOLM, SOCRATIC
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit import interpreted_simulation as interpreted_simulation

CONTROL_TOKENS = ["<unk>", "<s>", "</s>", "<pad>"]
_CORPUS = [
    SOCRATIC.header + "Human: Assistant: ",
    PLATOLM.header + "Human: Assistant: ",
    "Hello there! How are you today? I am fine, thank you. What can I do for you?",
    "A typed </s> or <s> or <pad> is text and stays text.",
]


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a byte-level BPE of 400 ids, trained on the two headers and a few sentences."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in CONTROL_TOKENS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_CORPUS * 4, trainer)
    folder = tmp_path_factory.mktemp("tiny-tokenizer")
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder


@pytest.fixture(scope="session")
def tiny_tokenizer(tiny_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(tiny_tokenizer_folder)
