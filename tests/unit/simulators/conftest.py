"""Tokenizers of the chat formats, as model folders and loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.simulators.tokenizers import DEMO_MODEL, save_chatml_tokenizer, save_llama3_tokenizer


@pytest.fixture(scope="session")
def llama3_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_llama3_tokenizer(tmp_path_factory.mktemp("llama3-tokenizer"))


@pytest.fixture(scope="session")
def chatml_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_chatml_tokenizer(tmp_path_factory.mktemp("chatml-tokenizer"))


@pytest.fixture(scope="session")
def llama3(llama3_folder: Path) -> HubTokenizer:
    return load_tokenizer(llama3_folder)


@pytest.fixture(scope="session")
def chatml(chatml_folder: Path) -> HubTokenizer:
    return load_tokenizer(chatml_folder)


@pytest.fixture(scope="session")
def demo() -> HubTokenizer:
    return load_tokenizer(DEMO_MODEL)
