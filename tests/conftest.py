"""Fixtures that all tests share."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fakes.tokenizer import save_byte_tokenizer

# A shell's background job begins with Ctrl-C ignored, and its children inherit that; tests that press it want it heard.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def byte_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder's tokenizer files; one id a byte."""
    return save_byte_tokenizer(tmp_path_factory.mktemp("byte-tokenizer"))
