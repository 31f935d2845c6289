"""A model takes over from another only where both read the same ids."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from platolm.errors import InputError, TokenizerError
from platolm.stack.tokens import require_same_tokens


async def test_a_copy_is_the_same(byte_tokenizer_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(byte_tokenizer_folder, tmp_path / "copy")
    await require_same_tokens(str(byte_tokenizer_folder), str(tmp_path / "copy"))


async def test_another_vocabulary_is_refused(byte_tokenizer_folder: Path, tiny_tokenizer_folder: Path) -> None:
    with pytest.raises(InputError, match="has another tokenizer than"):
        await require_same_tokens(str(byte_tokenizer_folder), str(tiny_tokenizer_folder))


async def test_no_tokenizer(byte_tokenizer_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="holds no tokenizer"):
        await require_same_tokens(str(byte_tokenizer_folder), str(tmp_path))
