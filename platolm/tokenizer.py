"""A tokenizer as the dyadic format needs it: plain text to ids with control tokens disabled, and back."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from tokenizers import Tokenizer as FastTokenizer

from platolm.errors import TokenizerError
from platolm.text_tokenizer import TextTokenizer as TextTokenizer

_PROBE = "a {}{} b"
_MAX_FIXED = 1024
_TURN_TOKENS = ("<|im_start|>", "<|start_header_id|>")


class HubTokenizer:
    """A Hugging Face fast tokenizer with a bos and an eos.

    Works on the Rust tokenizer directly, so neither transformers nor torch is imported on the hot path.
    `encode_special_tokens` makes the tokenizer read the spelling of a special token as text
    (huggingface/tokenizers#1279).
    """

    def __init__(self, fast: FastTokenizer, *, bos_token: str, eos_token: str, name: str) -> None:
        self._fast = fast
        self._fast.encode_special_tokens = True
        self._fast.no_truncation()
        self._fast.no_padding()
        self.name = name
        self._fixed: dict[str, tuple[int, ...]] = {}
        self._vocab_size = fast.get_vocab_size(with_added_tokens=True)
        self.bos_id = self._control_id(bos_token)
        self.eos_id = self._control_id(eos_token)
        typed = _PROBE.format(bos_token, eos_token)
        if {self.bos_id, self.eos_id} & set(self.encode(typed)):
            raise TokenizerError(
                f"{name}: a typed {bos_token!r} or {eos_token!r} becomes a control token; "
                "mark both as special in tokenizer.json"
            )

    @property
    def vocab_size(self) -> int:
        """Number of ids, added tokens included."""
        return self._vocab_size

    def encode(self, text: str) -> list[int]:
        """Ids of plain text; no control tokens are added or recognised."""
        return self._fast.encode(text, add_special_tokens=False).ids

    def encode_fixed(self, text: str) -> tuple[int, ...]:
        """`encode` of a text that comes again and again, such as a header; remembered."""
        ids = self._fixed.get(text)
        if ids is None:
            if len(self._fixed) >= _MAX_FIXED:
                self._fixed.clear()
            ids = self._fixed[text] = tuple(self.encode(text))
        return ids

    def encode_many(self, texts: Sequence[str]) -> list[list[int]]:
        """`encode` of each text, in one call that uses all of the tokenizer's threads."""
        return [encoding.ids for encoding in self._fast.encode_batch_fast(list(texts), add_special_tokens=False)]

    def decode(self, ids: Sequence[int]) -> str:
        """Text of ids, bos and eos left out."""
        kept = [i for i in ids if i not in (self.bos_id, self.eos_id)]
        return self._fast.decode(kept, skip_special_tokens=False)

    def id_of(self, token: str) -> int | None:
        """The id of a vocabulary entry, by its spelling there."""
        return self._fast.token_to_id(token)

    def token_of(self, token_id: int) -> str:
        """The spelling of a vocabulary entry."""
        token = self._fast.id_to_token(token_id)
        if token is None:
            raise ValueError(f"{self.name} has no id {token_id}")
        return token

    def _control_id(self, token: str) -> int:
        token_id = self._fast.token_to_id(token)
        if token_id is None:
            raise TokenizerError(f"{self.name}: {token!r} is not in the vocabulary")
        return token_id


def load_tokenizer(source: str | Path) -> HubTokenizer:
    """Load a tokenizer from a model folder, or from the Hugging Face hub by repository name.

    Raises:
        TokenizerError: no fast tokenizer there, or it lacks a bos or an eos.
    """
    folder = Path(source)
    if folder.is_dir():
        return _from_folder(folder)
    if folder.exists():
        raise TokenizerError(f"{source} is a file; give the model's folder")
    return _from_hub(str(source))


def _from_folder(folder: Path) -> HubTokenizer:
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TokenizerError(f"{folder} holds no tokenizer.json: point at a model folder with a fast tokenizer")
    try:
        fast = FastTokenizer.from_file(str(path))
    except Exception as error:  # the Rust library raises bare Exception for every defect
        raise TokenizerError(f"{path} cannot be read: {error}") from error
    config = _read_json(folder / "tokenizer_config.json")
    special = _read_json(folder / "special_tokens_map.json")
    return HubTokenizer(
        fast,
        bos_token=_control_token("bos_token", config, special, folder, instead=_begins_a_turn(fast)),
        eos_token=_control_token("eos_token", config, special, folder),
        name=str(folder),
    )


def _from_hub(name: str) -> HubTokenizer:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        folder = snapshot_download(
            name, allow_patterns=["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"]
        )
    except HFValidationError as error:
        raise TokenizerError(f"{name}: no such folder, and not a name on the Hugging Face hub") from error
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise TokenizerError(f"{name}: no such folder, and the Hugging Face hub did not give it ({error})") from error
    return _from_folder(Path(folder))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise TokenizerError(f"{path} is not JSON: {error}") from error


def _begins_a_turn(fast: FastTokenizer) -> str | None:
    """What stands in for a bos where a tokenizer has none (Qwen's): the token that begins a turn in its own format."""
    return next((token for token in _TURN_TOKENS if fast.token_to_id(token) is not None), None)


def _control_token(
    key: str, config: dict[str, Any], special: dict[str, Any], folder: Path, *, instead: str | None = None
) -> str:
    for source in (config, special):
        value = source.get(key)
        if isinstance(value, dict):
            value = value.get("content")
        if isinstance(value, str) and value:
            return value
    if instead is not None:
        return instead
    raise TokenizerError(f"{folder} names no {key}: the dyadic format needs a bos and an eos")
