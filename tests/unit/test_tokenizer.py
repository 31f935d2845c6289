"""Loading tokenizers, and refusing those that the dyadic format cannot use."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers

from platolm.errors import TokenizerError
from platolm.tokenizer import HubTokenizer, load_tokenizer


@pytest.fixture
def folder(tiny_tokenizer_folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(tiny_tokenizer_folder, tmp_path / "model"))


def test_control_ids(tiny_tokenizer: HubTokenizer) -> None:
    assert (tiny_tokenizer.bos_id, tiny_tokenizer.eos_id) == (1, 2)
    assert tiny_tokenizer.vocab_size == 400


def test_typed_control_tokens_stay_text(tiny_tokenizer: HubTokenizer) -> None:
    ids = tiny_tokenizer.encode("a <s>b</s> <pad><unk>")
    assert not set(ids) & {0, 1, 2, 3}
    assert tiny_tokenizer.decode(ids) == "a <s>b</s> <pad><unk>"


def test_encoding_adds_nothing(tiny_tokenizer: HubTokenizer) -> None:
    assert tiny_tokenizer.encode("") == []
    first, second = tiny_tokenizer.encode("Hello"), tiny_tokenizer.encode("\n\n")
    assert tiny_tokenizer.decode(first + second) == "Hello\n\n"


def test_fixed_pieces_are_encoded_once(tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tokenizer = load_tokenizer(tiny_tokenizer_folder)
    encoded: list[str] = []
    encode = tokenizer.encode

    def encode_and_note(text: str) -> list[int]:
        encoded.append(text)
        return encode(text)

    monkeypatch.setattr(tokenizer, "encode", encode_and_note)
    pieces = ["Human: ", "a </s> b", "Human: ", "", "Human: ", ""]
    assert [tokenizer.encode_fixed(piece) for piece in pieces] == [tuple(encode(piece)) for piece in pieces]
    assert encoded == ["Human: ", "a </s> b", ""]


def test_what_is_remembered_of_fixed_pieces_is_bounded(
    tiny_tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platolm.tokenizer._MAX_FIXED", 2)
    tokenizer = load_tokenizer(tiny_tokenizer_folder)
    pieces = ["a", "b", "c", "a", "b", "c"]
    assert [tokenizer.encode_fixed(piece) for piece in pieces] == [tuple(tokenizer.encode(piece)) for piece in pieces]
    assert len(tokenizer._fixed) == 2


def test_decoding_leaves_bos_and_eos_out(tiny_tokenizer: HubTokenizer) -> None:
    assert tiny_tokenizer.decode([1, *tiny_tokenizer.encode("Hello"), 2]) == "Hello"


def test_tokens_may_be_given_as_objects(folder: Path) -> None:
    config = {"bos_token": {"content": "<s>", "special": True}, "eos_token": {"content": "</s>"}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    assert load_tokenizer(folder).eos_id == 2


def test_tokens_may_stand_in_the_special_tokens_map(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "special_tokens_map.json").write_text('{"bos_token": "<s>", "eos_token": "</s>"}')
    assert load_tokenizer(folder).bos_id == 1


def test_a_tokenizer_without_a_bos_begins_a_turn_as_its_own_format_does(folder: Path) -> None:
    """Qwen's names no bos, and opens every turn with <|im_start|>."""
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"bos_token": null, "eos_token": "<|im_end|>"}')
    loaded = load_tokenizer(folder)
    assert loaded.token_of(loaded.bos_id) == "<|im_start|>"
    assert loaded.token_of(loaded.eos_id) == "<|im_end|>"
    assert loaded.bos_id not in loaded.encode("<|im_start|>user")


def test_entries_are_found_by_their_spelling_and_by_their_id(tiny_tokenizer: HubTokenizer) -> None:
    assert [tiny_tokenizer.id_of(token) for token in ("<s>", "</s>", "<nothing>")] == [1, 2, None]
    assert tiny_tokenizer.token_of(3) == "<pad>"
    with pytest.raises(ValueError, match="has no id"):
        tiny_tokenizer.token_of(10**6)


def test_many_texts_are_encoded_as_one_by_one(tiny_tokenizer: HubTokenizer) -> None:
    texts = ["Hello", "", "a </s> b", "naïve 🙂"]
    assert tiny_tokenizer.encode_many(texts) == [tiny_tokenizer.encode(text) for text in texts]


def test_saved_truncation_and_padding_are_switched_off(folder: Path) -> None:
    fast = Tokenizer.from_file(str(folder / "tokenizer.json"))
    fast.enable_truncation(4)
    fast.enable_padding(length=64)
    fast.save(str(folder / "tokenizer.json"))
    loaded = load_tokenizer(folder)
    assert loaded.decode(loaded.encode("Hello there! " * 10)) == "Hello there! " * 10
    assert len(loaded.encode("a")) == 1


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("tokenizer_config.json", "{}", "names no bos_token"),
        ("tokenizer_config.json", '{"bos_token": "<s>"}', "names no eos_token"),
        ("tokenizer_config.json", '{"bos_token": "<s>", "eos_token": "<|end|>"}', "'<|end|>' is not in the vocabulary"),
        ("tokenizer_config.json", "{broken", "is not JSON"),
        ("tokenizer.json", "{broken", "cannot be read"),
    ],
)
def test_a_broken_folder_is_named(folder: Path, file: str, content: str, said: str) -> None:
    (folder / file).write_text(content)
    with pytest.raises(TokenizerError) as caught:
        load_tokenizer(folder)
    assert said in str(caught.value)


def test_a_folder_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json"):
        load_tokenizer(tmp_path)


def test_a_file_is_named(folder: Path) -> None:
    with pytest.raises(TokenizerError, match="is a file"):
        load_tokenizer(folder / "tokenizer.json")


def test_a_control_token_that_can_be_typed_is_refused(folder: Path) -> None:
    """An eos that is added but not marked special is read in plain text, whatever is switched off."""
    fast = Tokenizer(models.WordLevel({"<unk>": 0, "a": 1, "b": 2}, unk_token="<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.add_special_tokens([AddedToken("<s>", special=True)])
    fast.add_tokens([AddedToken("</s>", special=False, normalized=False)])
    fast.save(str(folder / "tokenizer.json"))
    with pytest.raises(TokenizerError, match="becomes a control token"):
        load_tokenizer(folder)
