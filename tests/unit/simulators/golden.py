"""Prompts written piece by piece, by hand: control ids, and texts that are each one encode of the bare tokenizer."""

from __future__ import annotations

from pathlib import Path

from tests.unit.simulators.tokenizers import raw_tokenizer


class Golden:
    """A prompt's ids. A control token is given by its id, generated ids as a list; a text is one encode."""

    def __init__(self, folder: Path) -> None:
        self._raw = raw_tokenizer(folder)
        self.ids: list[int] = []

    def __call__(self, *pieces: int | str | list[int]) -> Golden:
        for piece in pieces:
            if isinstance(piece, int):
                self.ids.append(piece)
            elif isinstance(piece, list):
                self.ids += piece
            else:
                self.ids += self._raw.encode(piece, add_special_tokens=False).ids
        return self

    def decoded(self, ids: list[int]) -> str:
        """The text of ids, control tokens spelled."""
        return self._raw.decode(ids, skip_special_tokens=False)
