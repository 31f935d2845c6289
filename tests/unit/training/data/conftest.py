"""Three families of tokenizers, and the byte-level one that makes lengths easy to count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers

from platolm.tokenizer import HubTokenizer, load_tokenizer

REPOSITORY = Path(__file__).parents[4]


@pytest.fixture(scope="session")
def byte_tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


@pytest.fixture(scope="session")
def demo_tokenizer() -> HubTokenizer:
    """The demo pair's byte-level BPE."""
    return load_tokenizer(REPOSITORY / "models" / "demo" / "base")


@pytest.fixture(scope="session")
def sentencepiece_tokenizer(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    """A Llama-like one: 32,000 sentencepiece BPE pieces with byte fallback, as a fast tokenizer."""
    mistral_common = pytest.importorskip("mistral_common")
    source = Path(mistral_common.__file__).parent / "data" / "tokenizer.model.v1"
    if not source.is_file():
        pytest.skip("this release of mistral_common carries no sentencepiece model")
    return load_tokenizer(_save_as_fast(source, tmp_path_factory.mktemp("sentencepiece")))


def _save_as_fast(source: Path, folder: Path) -> Path:
    from transformers.convert_slow_tokenizer import SentencePieceExtractor

    extracted: dict[str, Any] = SentencePieceExtractor(str(source)).extract(models.BPE)  # type: ignore[assignment]
    model = models.BPE(extracted["vocab"], extracted["merges"], unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    fast = Tokenizer(model)
    fast.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    fast.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    fast.add_special_tokens(extracted["additional_special_tokens"])
    fast.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"bos_token": "<s>", "eos_token": "</s>"}))
    return folder
