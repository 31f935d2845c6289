"""An export is what services serve by path: bf16 weights, the tokenizer as it was, a pad token, the chat template."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer

from platolm.conversation import ASSISTANT, USER, Message
from platolm.dyadic import SOCRATIC, compose
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.training.conftest import tiny_model
from training.bpe import PAD_ID
from training.export import export, pad_id_of, put_in_place, read_record
from training.models import load_model


def exported(tokenizer: HubTokenizer, folder: Path) -> Path:
    export(tiny_model(), folder, tokenizer=tokenizer, profile=SOCRATIC, record={"result": 1}, card="# It\n")
    return folder


def without_pad(source: Path, target: Path) -> HubTokenizer:
    """The same tokenizer, whose configuration names no pad token."""
    shutil.copytree(source, target)
    config = json.loads((target / "tokenizer_config.json").read_text(encoding="utf-8"))
    del config["pad_token"]
    (target / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return load_tokenizer(target)


def test_the_folder_holds_a_model_that_loads_with_the_weights_in_bf16(
    tiny_tokenizer: HubTokenizer, tmp_path: Path
) -> None:
    folder = exported(tiny_tokenizer, tmp_path / "model")
    stored = load_file(folder / "model.safetensors")
    assert {weight.dtype for weight in stored.values()} == {torch.bfloat16}
    for name, weight in tiny_model().state_dict().items():
        if name in stored:
            assert torch.equal(stored[name], weight.bfloat16()), name
    assert load_model(folder).config.vocab_size == tiny_model().config.vocab_size
    assert read_record(folder) == {"result": 1}
    assert (folder / "README.md").read_text(encoding="utf-8") == "# It\n"
    assert load_tokenizer(folder).encode("tea </s>") == tiny_tokenizer.encode("tea </s>")


def test_the_chat_template_renders_the_ids_that_training_saw(tiny_tokenizer: HubTokenizer, tmp_path: Path) -> None:
    folder = exported(tiny_tokenizer, tmp_path / "model")
    messages = [Message(USER, "Which tea?"), Message(ASSISTANT, "The green one.")]
    rendered = AutoTokenizer.from_pretrained(folder).apply_chat_template(
        [{"role": m.role, "content": m.content} for m in messages], add_generation_prompt=True, return_dict=False
    )
    assert rendered == compose(messages, SOCRATIC, tiny_tokenizer, open_role=USER).input_ids


def test_padding_takes_an_id_that_is_there_and_the_vocabulary_does_not_grow(
    tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    tokenizer = without_pad(tiny_tokenizer_folder, tmp_path / "tokenizer")
    assert pad_id_of(tokenizer) == PAD_ID
    folder = exported(tokenizer, tmp_path / "model")
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["pad_token"] == "<pad>"
    assert len(AutoTokenizer.from_pretrained(folder)) == tokenizer.vocab_size
    assert load_model(folder).config.pad_token_id == PAD_ID


def test_a_vocabulary_without_anything_like_it_pads_with_its_eos() -> None:
    class Bare:
        bos_id, eos_id = 1, 2

        def id_of(self, token: str) -> int | None:
            return {"<|endoftext|>": 2}.get(token)

    assert pad_id_of(Bare()) == 2  # type: ignore[arg-type]


def test_what_was_there_is_replaced_whole(tmp_path: Path) -> None:
    for name, text in (("fresh", "new"), ("place", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text, encoding="utf-8")
    (tmp_path / "place" / "stale").touch()
    put_in_place(tmp_path / "fresh", tmp_path / "place")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "file"]
    assert (tmp_path / "place" / "file").read_text(encoding="utf-8") == "new"


def test_a_failed_export_leaves_what_was_there(tiny_tokenizer: HubTokenizer, tmp_path: Path) -> None:
    folder = exported(tiny_tokenizer, tmp_path / "model")
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(TypeError):
        export(tiny_model(2), folder, tokenizer=tiny_tokenizer, profile=None, record={"no json": object()}, card="")
    assert (folder / "model.safetensors").read_bytes() == before
