"""The demo pair's tokenizer with the control tokens of other chat formats added behind its own 4,096 ids."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer

DEMO_MODEL = Path(__file__).parents[3] / "models" / "demo" / "base"

NUM_DEMO_IDS = 4096
BEGIN_OF_TEXT, END_OF_TEXT, START_HEADER, END_HEADER, EOT, END_CONVERSATION = range(NUM_DEMO_IDS, NUM_DEMO_IDS + 6)
LLAMA3_TOKENS = {
    "<|begin_of_text|>": BEGIN_OF_TEXT,
    "<|end_of_text|>": END_OF_TEXT,
    "<|start_header_id|>": START_HEADER,
    "<|end_header_id|>": END_HEADER,
    "<|eot_id|>": EOT,
}
ENDOFTEXT, IM_START, IM_END, END_MARK = range(NUM_DEMO_IDS, NUM_DEMO_IDS + 4)
CHATML_TOKENS = {"<|endoftext|>": ENDOFTEXT, "<|im_start|>": IM_START, "<|im_end|>": IM_END}


def save_llama3_tokenizer(folder: Path) -> Path:
    """As UserLM's: Llama 3's special tokens, and a goodbye that is one id but not a special token."""
    return _save(folder, [*LLAMA3_TOKENS], ["<|endconversation|>"], bos="<|begin_of_text|>", eos="<|end_of_text|>")


def save_chatml_tokenizer(folder: Path) -> Path:
    """As Qwen's, which has no bos; the goodbye of a played role is one id here too."""
    return _save(folder, [*CHATML_TOKENS], ["<end>"], bos=None, eos="<|im_end|>")


def raw_tokenizer(folder: Path) -> Tokenizer:
    """The bare Rust tokenizer, so that expectations do not go through the code under test."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.encode_special_tokens = True
    return tokenizer


def _save(folder: Path, special: list[str], plain: list[str], *, bos: str | None, eos: str) -> Path:
    tokenizer = Tokenizer.from_file(str(DEMO_MODEL / "tokenizer.json"))
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in plain])
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"eos_token": eos} | ({"bos_token": bos} if bos else {})
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
