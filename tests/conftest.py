"""Fixtures that all tests share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.tokenizer import save_byte_tokenizer


@pytest.fixture(scope="session")
def byte_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder's tokenizer files; one id a byte."""
    return save_byte_tokenizer(tmp_path_factory.mktemp("byte-tokenizer"))
