"""The tokenizer's files load everywhere, lose nothing, and never let a typed control token through."""

from __future__ import annotations

from pathlib import Path

import pytest
from transformers import AutoTokenizer

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import PROFILES, DyadicProfile, compose
from platolm.tokenizer import HubTokenizer
from tests.unit.training.conftest import TINY_SHAPE
from training.bpe import PAD_ID, SPECIAL_TOKENS
from training.chat_template import chat_template


def test_both_loaders_agree_on_the_control_tokens(tiny_tokenizer_folder: Path, tiny_tokenizer: HubTokenizer) -> None:
    hub = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    assert (hub.bos_token_id, hub.eos_token_id) == (tiny_tokenizer.bos_id, tiny_tokenizer.eos_id) == (1, 2)
    assert hub.pad_token_id == PAD_ID == 3
    assert hub.all_special_tokens == sorted(SPECIAL_TOKENS, key=hub.all_special_tokens.index)
    assert hub.model_max_length == TINY_SHAPE.context
    assert len(hub) == tiny_tokenizer.vocab_size <= TINY_SHAPE.vocab_size


@pytest.mark.parametrize("text", ["Which tea is green?", "naïve 🫖\t\n\n  x", "</s> <s> <pad> <unk>", ""])
def test_text_comes_back_as_it_was(text: str, tiny_tokenizer: HubTokenizer) -> None:
    ids = tiny_tokenizer.encode(text)
    assert tiny_tokenizer.decode(ids) == text
    assert not set(ids) & {0, 1, 2, 3}


@pytest.mark.parametrize("profile", PROFILES.values(), ids=lambda profile: profile.name)
def test_the_chat_template_renders_the_dyadic_format(
    profile: DyadicProfile, tiny_tokenizer_folder: Path, tiny_tokenizer: HubTokenizer
) -> None:
    hub = AutoTokenizer.from_pretrained(tiny_tokenizer_folder)
    messages = [
        Message(SYSTEM, "Be brief."),
        Message(USER, 'Which "tea"?\n\nHuman: that?'),
        Message(ASSISTANT, "The green one.  "),
        Message("tool", "{}"),
    ]
    records = [{"role": m.role, "content": m.content} for m in messages]
    template = chat_template(profile)
    whole = hub.apply_chat_template(records, chat_template=template, return_dict=False)
    assert whole == compose(messages, profile, tiny_tokenizer).input_ids
    prompt = hub.apply_chat_template(records, chat_template=template, add_generation_prompt=True, return_dict=False)
    assert prompt == compose(messages, profile, tiny_tokenizer, open_role=profile.target_role).input_ids
