"""Train the byte-level BPE tokenizer that both demo models share, in the files that transformers and vLLM read."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from platolm.dyadic import PLATOLM, SOCRATIC

UNK, BOS, EOS, PAD = "<unk>", "<s>", "</s>", "<pad>"
SPECIAL_TOKENS = (UNK, BOS, EOS, PAD)
BOS_ID, EOS_ID, PAD_ID = (SPECIAL_TOKENS.index(token) for token in (BOS, EOS, PAD))


def train_tokenizer(texts: Iterable[str], folder: Path, *, vocab_size: int, context: int) -> None:
    """Write `tokenizer.json` and `tokenizer_config.json` into `folder`.

    Every byte is in the alphabet, so no text is unknown, and no normalisation happens, so decoding gives back exactly
    what was encoded.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*texts, SOCRATIC.header, PLATOLM.header], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": UNK,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "model_max_length": context,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
