"""A byte-level BPE trained on the spot, as a model folder would hold it."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from platolm.tokenizer import HubTokenizer


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
