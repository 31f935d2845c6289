"""A model whose next token depends on the last one alone, with known probabilities: it stands in for UserLM.

It has Llama 3's special tokens and UserLM's goodbye. Llama's layers are there and add nothing: an embedding says which
token was the last one, the head what may follow it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

from tests.unit.simulators.tokenizers import BEGIN_OF_TEXT, END_CONVERSATION, EOT, raw_tokenizer, save_llama3_tokenizer

CONTEXT = 1024
GOODBYE_AFTER_THANKS = 0.6
"""How likely the goodbye that is one token is after `thanks`; it comes nowhere else."""
WORDS = ("how", "why", "the", "water", "plants", "when", "they", "fall", "what", "much", "light", "every", "day")
PHRASES = {"Bye!": 0.28, "As an AI language model, I": 0.05}
"""What an utterance may be instead, and how likely it is; greedy, it always is the first."""
END_MARK = "<end>"
"""A goodbye of three tokens."""

_HIDDEN = 128
_NEVER = -40.0
_LARGE = 100.0  # so that the norm's epsilon does not count
_Next = dict[int, float]


def write_chain_model(folder: Path) -> Path:
    """Give a model's folder. Utterances end in `<|eot_id|>`, the tokenizer's eos."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    save_llama3_tokenizer(folder)
    special = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf-8")
    shape = LlamaConfig(
        vocab_size=END_CONVERSATION + 1,
        hidden_size=_HIDDEN,
        intermediate_size=_HIDDEN,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        bos_token_id=BEGIN_OF_TEXT,
        eos_token_id=EOT,
        tie_word_embeddings=False,
    )
    model = LlamaForCausalLM(shape)  # type: ignore[no-untyped-call]
    opening, following = _chain(folder)
    states = {token: state for state, token in enumerate(following, start=1)}
    with torch.no_grad():
        layer = model.model.layers[0]
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
        model.model.embed_tokens.weight.zero_()
        model.model.embed_tokens.weight[:, 0] = _LARGE
        model.lm_head.weight.fill_(_logit(0.0))
        for token, state in states.items():
            model.model.embed_tokens.weight[token, 0] = 0.0
            model.model.embed_tokens.weight[token, state] = _LARGE
        for state, after in [(0, opening), *((states[token], after) for token, after in following.items())]:
            for token, probability in after.items():
                model.lm_head.weight[token, state] = _logit(probability)
    model.save_pretrained(folder)
    return folder


def _logit(probability: float) -> float:
    """A weight of the head; the last norm makes the one that counts as large as all of them together."""
    return (math.log(probability) if probability else _NEVER) / math.sqrt(_HIDDEN)


def _chain(folder: Path) -> tuple[_Next, Mapping[int, _Next]]:
    """What may follow: a token that is not among the others (those of prompts), and each of the others."""
    tokenizer = raw_tokenizer(folder)

    def ids(text: str) -> list[int]:
        return list(tokenizer.encode(text, add_special_tokens=False).ids)

    words = [token for word in WORDS for token in ids(f" {word}")]
    [thanks], [capital_i] = ids(" thanks"), ids("I")
    less, *_ = ends = ids(END_MARK)
    opening = {capital_i: 0.1, **{ids(phrase)[0]: share for phrase, share in PHRASES.items()}}
    opening |= _shared(1.0 - sum(opening.values()), words)
    on = {EOT: 0.12, thanks: 0.1, less: 0.03}  # UserLM's top-p leaves out what is less likely than a word
    on |= _shared(1.0 - sum(on.values()), words)
    following = dict.fromkeys([*words, capital_i], on)
    following[thanks] = {END_CONVERSATION: GOODBYE_AFTER_THANKS, EOT: 0.1, **_shared(0.3, words)}
    for chain in (ends, *map(ids, PHRASES)):
        following |= {token: {after: 1.0} for token, after in zip(chain, [*chain[1:], EOT], strict=True)}
    return opening, following


def _shared(probability: float, tokens: list[int]) -> _Next:
    return {token: probability / len(tokens) for token in tokens}
