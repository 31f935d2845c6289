"""A byte-level BPE trained on the spot, as a model folder would hold it."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.simulators.tokenizers import DEMO_MODEL, save_llama3_tokenizer


@pytest.fixture(scope="session")
def tokenizer() -> HubTokenizer:
    fast = Tokenizer(models.BPE(unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    fast.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=["<unk>", "<s>", "</s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    fast.train_from_iterator(["questions.\n\nHuman: Assistant: what is the answer to the question?"] * 5, trainer)
    return HubTokenizer(fast, bos_token="<s>", eos_token="</s>", name="tiny")


@pytest.fixture(scope="session")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    """With the special tokens that UserLM's prompts are made of."""
    return load_tokenizer(save_llama3_tokenizer(tmp_path_factory.mktemp("llama3-tokenizer")))


@pytest.fixture(scope="session")
def demo() -> HubTokenizer:
    return load_tokenizer(DEMO_MODEL)
