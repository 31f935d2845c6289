"""An OpenAI-compatible embeddings server that counts letters: (texts, 26), every text as long as it may be.

It runs in a thread of its own, and keeps what it was asked.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.serving import serving

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def letter_counts(text: str) -> list[float]:
    """How often each letter is in a text."""
    return [float(text.lower().count(letter)) for letter in LETTERS]


@dataclass
class EmbeddingServer:
    """`max_chars`: a longer text is refused with 400. `says`, where set, is the answer instead, whatever is asked."""

    model: str = "letters"
    max_chars: int = 10_000
    api_key: str | None = None
    says: Any = None
    asked: list[list[str]] = field(default_factory=list)
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[EmbeddingServer]:
        """Serve while entered; `url` ends in `/v1`."""
        app = web.Application(client_max_size=2**26)
        app.router.add_post("/v1/embeddings", self._embeddings)
        with serving(app) as root:
            self.url = f"{root}/v1"
            yield self

    async def _embeddings(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.api_key is not None and request.headers.get("Authorization") != f"Bearer {self.api_key}":
            return _refused(401, "Incorrect API key provided.")
        if body["model"] != self.model:
            return _refused(404, f"The model `{body['model']}` does not exist.")
        if any(len(text) > self.max_chars for text in body["input"]):
            return _refused(400, "This model's maximum context length is exceeded.")
        self.asked.append(body["input"])
        if self.says is not None:
            return web.json_response(self.says)
        data = [
            {"object": "embedding", "index": index, "embedding": letter_counts(text)}
            for index, text in enumerate(body["input"])
        ]
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        return web.json_response({"object": "list", "model": self.model, "data": data[::-1], "usage": usage})


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "refused", "code": None}}, status=status)
