"""A trained model as a plain Hugging Face folder: weights, tokenizer, chat template, card; whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from platolm.dyadic import DyadicProfile
from platolm.tokenizer import HubTokenizer
from training.chat_template import chat_template

if TYPE_CHECKING:
    from transformers import PreTrainedModel

RECORD = "training.json"
CARD = "README.md"

_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
)
_PAD_TOKENS = ("<pad>", "[PAD]", "<|pad|>", "<|finetune_right_pad_id|>", "<|endoftext|>", "<unk>", "[UNK]")
_TEMPERATURE = 0.7  # of the paper's synthesis


def export(
    model: PreTrainedModel,
    folder: Path,
    *,
    tokenizer: HubTokenizer,
    profile: DyadicProfile | None,
    record: Mapping[str, Any],
    card: str,
) -> None:
    """Write `folder`; services serve it by its path.

    Args:
        model: its weights are written in bf16.
        tokenizer: its files are taken over as they are; the configuration gets a pad token that the vocabulary already
            has, and with a profile its chat template.
        record: `training.json`, what the run was and found.

    Raises:
        OSError: the disk is full or the folder cannot be written; what was there is intact.
    """
    import torch
    from transformers import GenerationConfig

    fresh = folder.with_name(folder.name + ".new")
    shutil.rmtree(fresh, ignore_errors=True)
    pad_id = pad_id_of(tokenizer)
    model.config.pad_token_id = pad_id
    model.config.use_cache = True
    model.generation_config = GenerationConfig(  # type: ignore[no-untyped-call]
        bos_token_id=tokenizer.bos_id,
        eos_token_id=tokenizer.eos_id,
        pad_token_id=pad_id,
        do_sample=True,
        temperature=_TEMPERATURE,
    )
    model.to(torch.bfloat16).save_pretrained(fresh)  # type: ignore[arg-type]
    for path in fresh.iterdir():
        path.chmod(0o644)  # safetensors writes for its owner alone
    for path in (Path(tokenizer.name) / name for name in _TOKENIZER_FILES):
        if path.is_file():
            shutil.copyfile(path, fresh / path.name)
    _complete_tokenizer_config(fresh / "tokenizer_config.json", tokenizer, pad_id, profile)
    (fresh / RECORD).write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    (fresh / CARD).write_text(card, encoding="utf-8")
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


def pad_id_of(tokenizer: HubTokenizer) -> int:
    """An id for padding that the vocabulary already has, so that it stays as large as it is; at worst the eos."""
    known = (tokenizer.id_of(token) for token in _PAD_TOKENS)
    taken = (tokenizer.bos_id, tokenizer.eos_id)
    return next((token_id for token_id in known if token_id is not None and token_id not in taken), tokenizer.eos_id)


def _complete_tokenizer_config(path: Path, tokenizer: HubTokenizer, pad_id: int, profile: DyadicProfile | None) -> None:
    config = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for name, token_id in (("bos_token", tokenizer.bos_id), ("pad_token", pad_id)):
        if not config.get(name):
            config[name] = tokenizer.token_of(token_id)
    if profile is not None:
        config["chat_template"] = chat_template(profile)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
