"""A fake engine: the completions dialect of vLLM over HTTP, with settable latency and faults.

What it says depends on prompt and seed alone, so that a repeated request gets the same answer. It runs in a thread of
its own, and counts what it was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aiohttp import web

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.serving import serving

_WORDS = ("what", "about", "the", "river", "boat", "soup", "garden", "winter", "letter", "train", "bread", "song")


@dataclass
class FakeEngine:
    """`latency_s` before each answer; the next `failures` requests get `failure_status`.

    The next `aborts` get half an answer: what vLLM gives for a request that it ends itself while it stops.
    """

    tokenizer_folder: Path
    model: str
    max_model_len: int = 1024
    latency_s: float = 0.0
    failures: int = 0
    failure_status: int = 500
    aborts: int = 0
    url: str = ""
    requests: Counter[tuple[tuple[int, ...], int]] = field(default_factory=Counter)
    answered: Counter[tuple[tuple[int, ...], int]] = field(default_factory=Counter)
    in_flight: int = 0
    most_in_flight: int = 0

    @cached_property
    def tokenizer(self) -> HubTokenizer:
        return load_tokenizer(self.tokenizer_folder)

    async def models(self, _request: web.Request) -> web.Response:
        served = {"id": self.model, "root": str(self.tokenizer_folder), "max_model_len": self.max_model_len}
        return web.json_response({"data": [served]})

    async def completions(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.failures:
            self.failures -= 1
            return web.json_response({"error": {"message": "made to fail"}}, status=self.failure_status)
        prompt = tuple(body["prompt"])
        if len(prompt) >= self.max_model_len:
            return web.json_response({"error": {"message": "prompt too long"}}, status=400)
        key = (prompt, int(body["seed"]))
        self.requests[key] += 1
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(self.latency_s)
        finally:
            self.in_flight -= 1
        self.answered[key] += 1
        choice = self._choice(prompt, body)
        if self.aborts:
            self.aborts -= 1
            ids = choice["token_ids"][: len(choice["token_ids"]) // 2]
            choice = {"token_ids": ids, "text": self.tokenizer.decode(ids), "finish_reason": "abort"}
        return web.json_response({"choices": [choice]})

    def _choice(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(repr((prompt, body["seed"])).encode()).digest()
        text = " ".join(_WORDS[b % len(_WORDS)] for b in digest[: 4 + digest[0] % 5])
        room = min(body["max_tokens"], self.max_model_len - len(prompt))
        ids = [*self.tokenizer.encode(text), self.tokenizer.eos_id][:room]
        ended = ids[-1] == self.tokenizer.eos_id
        return {"token_ids": ids, "text": self.tokenizer.decode(ids), "finish_reason": "stop" if ended else "length"}

    @contextmanager
    def running(self) -> Iterator[FakeEngine]:
        """Serve on a free loopback port while entered."""
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.get("/v1/models", self.models), web.post("/v1/completions", self.completions)])
        with serving(app) as address:
            self.url = f"{address}/v1"
            yield self
