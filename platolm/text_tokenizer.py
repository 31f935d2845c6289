"""What prompts ask of a tokenizer, for whoever needs none: no library is loaded for it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class TextTokenizer(Protocol):
    """What `platolm.dyadic` asks of a tokenizer.

    `encode` never returns a control token, whatever is typed: a literal `</s>` stays text.
    """

    @property
    def bos_id(self) -> int: ...

    @property
    def eos_id(self) -> int: ...

    def encode(self, text: str) -> list[int]: ...

    def decode(self, ids: Sequence[int]) -> str: ...


class CachingTokenizer(TextTokenizer, Protocol):
    """One that remembers the ids of a format's fixed pieces."""

    @property
    def vocab_size(self) -> int: ...

    def encode_fixed(self, text: str) -> Sequence[int]: ...
