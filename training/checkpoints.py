"""Model folders: a new Llama of a recipe's shape, and a folder written whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from platolm.dyadic import DyadicProfile
from training.bpe import BOS, EOS, PAD, SPECIAL_TOKENS
from training.chat_template import chat_template
from training.recipes import ModelShape

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")
RECORD = "training.json"


def new_model(shape: ModelShape, *, seed: int) -> LlamaForCausalLM:
    """A Llama with random weights, tied embeddings and the shared tokenizer's control ids."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=shape.vocab_size,
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.num_layers,
        num_attention_heads=shape.num_heads,
        num_key_value_heads=shape.num_heads,
        max_position_embeddings=shape.context,
        tie_word_embeddings=True,
        bos_token_id=SPECIAL_TOKENS.index(BOS),
        eos_token_id=SPECIAL_TOKENS.index(EOS),
        pad_token_id=SPECIAL_TOKENS.index(PAD),
    )
    return LlamaForCausalLM(config)  # type: ignore[no-untyped-call]


def load_model(folder: Path) -> LlamaForCausalLM:
    """The folder's weights in float32, for training or measuring."""
    import torch
    from transformers import LlamaForCausalLM

    return LlamaForCausalLM.from_pretrained(folder, dtype=torch.float32)


def save_model(
    model: LlamaForCausalLM, tokenizer_folder: Path, folder: Path, record: dict[str, Any], profile: DyadicProfile | None
) -> None:
    """Write weights (bf16), configuration, tokenizer and `training.json` beside `folder`, then put them in its place.

    With a profile the tokenizer's configuration gets its chat template: the dyadic format, as text.
    """
    from transformers import GenerationConfig

    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    config = model.config
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=config.bos_token_id,
        eos_token_id=config.eos_token_id,
        pad_token_id=config.pad_token_id,
        do_sample=True,
        temperature=0.7,
    )
    model.bfloat16().save_pretrained(fresh)
    for path in fresh.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
    for name in TOKENIZER_FILES:
        shutil.copyfile(tokenizer_folder / name, fresh / name)
    if profile is not None:
        _add_chat_template(fresh / "tokenizer_config.json", profile)
    (fresh / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    put_in_place(fresh, folder)


def put_in_place(fresh: Path, folder: Path) -> None:
    """Rename `fresh` to `folder`, whose former content, if any, is removed afterwards."""
    old = folder.with_name(folder.name + ".old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        os.rename(folder, old)
    os.rename(fresh, folder)
    shutil.rmtree(old, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """What `training.json` says about the run that made the folder."""
    return cast("dict[str, Any]", json.loads((folder / RECORD).read_text(encoding="utf-8")))


def _add_chat_template(path: Path, profile: DyadicProfile) -> None:
    config = json.loads(path.read_text(encoding="utf-8"))
    config["chat_template"] = chat_template(profile)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
