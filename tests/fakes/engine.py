"""A fake engine: the completions dialect of vLLM over HTTP, with settable latency and faults.

What it says depends on prompt and seed alone, so that a repeated request gets the same answer. It runs in a thread of
its own, and counts what it was asked.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from aiohttp import web

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.fakes.faults import HARMLESS, Fault, spoiled
from tests.fakes.streaming import CUTS, streamed
from tests.serving import serving

_WORDS = ("what", "about", "the", "river", "boat", "soup", "garden", "winter", "letter", "train", "bread", "song")

Request = tuple[tuple[int, ...], int]
"""Prompt and seed."""

KV_BLOCK_TOKENS = 16


@dataclass
class FakeEngine:
    """`latency_s` before each answer, and `token_latency_s` for each of its tokens, streamed or not; the next
    `failures` requests get `failure_status`.

    The next `aborts` get half an answer: what vLLM gives for a request that it ends itself while it stops. Each of
    `faults` spoils one request, in order. `ends_one_in` ends about every n-th of its utterances' conversations with a
    blank; 0: none. `is_hung` keeps every request waiting while `/health` is fine. `kv_tokens` is the size of its cache;
    0: it does not say. `kv_used` is the share of it that it says is in use, `cached_tokens` what it says to have found
    there of each prompt; None: it does not say.
    """

    tokenizer_folder: Path
    model: str
    max_model_len: int = 1024
    latency_s: float = 0.0
    token_latency_s: float = 0.0
    cached_tokens: int | None = None
    failures: int = 0
    failure_status: int = 500
    retry_after: str | None = None
    aborts: int = 0
    faults: deque[Fault] = field(default_factory=deque)
    ends_one_in: int = 0
    is_hung: bool = False
    kv_tokens: int = 0
    kv_used: float = 0.0
    url: str = ""
    requests: Counter[Request] = field(default_factory=Counter)
    answered: Counter[Request] = field(default_factory=Counter)
    asked_at: defaultdict[Request, list[float]] = field(default_factory=lambda: defaultdict(list))
    num_answered: int = 0
    streamed_seeds: list[int] = field(default_factory=list)
    in_flight: int = 0
    most_in_flight: int = 0

    @cached_property
    def tokenizer(self) -> HubTokenizer:
        return load_tokenizer(self.tokenizer_folder)

    async def models(self, _request: web.Request) -> web.Response:
        served = {"id": self.model, "root": str(self.tokenizer_folder), "max_model_len": self.max_model_len}
        return web.json_response({"data": [served]})

    async def health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def metrics(self, _request: web.Request) -> web.Response:
        """What workers read of vLLM's."""
        label = f'{{engine="0",model_name="{self.model}"}}'
        blocks = self.kv_tokens // KV_BLOCK_TOKENS
        lines = [
            f"vllm:num_requests_running{label} {self.in_flight}",
            f"vllm:num_requests_waiting{label} 0.0",
            f"vllm:iteration_tokens_total_count{label} {self.num_answered}",
            f"vllm:kv_cache_usage_perc{label} {self.kv_used}",
        ]
        if blocks:
            lines.append(
                f'vllm:cache_config_info{{block_size="{KV_BLOCK_TOKENS}",num_gpu_blocks="{blocks}"}} 1.0',
            )
        return web.Response(text="\n".join([*lines, ""]), content_type="text/plain")

    async def completions(self, request: web.Request) -> web.StreamResponse:
        return await self._answer(request, await request.json(), self.faults.popleft() if self.faults else None)

    async def _answer(self, request: web.Request, body: dict[str, Any], fault: Fault | None) -> web.StreamResponse:
        key = (tuple(body["prompt"]), int(body["seed"]))
        self._note_asked(key)
        refusal = self._refusal(body)
        if refusal is not None:
            return refusal
        self._note_begun(key)
        answer = self._completion(key[0], body)
        is_streamed = bool(body.get("stream"))
        num_tokens = len(answer["choices"][0]["token_ids"])
        await self._work(0 if is_streamed else num_tokens)
        if self.aborts:
            self.aborts -= 1
            fault = Fault.ABORTED
        if is_streamed and (fault is None or fault in CUTS):
            return await self._stream(request, body, answer, fault)
        if fault is None or fault in HARMLESS:
            self._count_answer(key)
        if fault is not None:
            return await spoiled(fault, request, answer)
        return web.json_response(answer)

    async def _stream(
        self, request: web.Request, body: dict[str, Any], answer: dict[str, Any], cut: Fault | None
    ) -> web.StreamResponse:
        self.streamed_seeds.append(int(body["seed"]))
        with_usage = bool(body.get("stream_options", {}).get("include_usage"))
        with self._in_flight():
            response, is_whole = await streamed(
                request, answer, self.tokenizer.decode, token_s=self.token_latency_s, with_usage=with_usage, cut=cut
            )
        if is_whole:
            self._count_answer((tuple(body["prompt"]), int(body["seed"])))
        return response

    def _count_answer(self, key: Request) -> None:
        self.num_answered += 1
        self._note_answered(key)

    def _note_asked(self, key: Request) -> None:
        self.asked_at[key].append(time.monotonic())

    def _note_begun(self, key: Request) -> None:
        self.requests[key] += 1

    def _note_answered(self, key: Request) -> None:
        self.answered[key] += 1

    def _refusal(self, body: dict[str, Any]) -> web.Response | None:
        """The error that a request gets before any work is done for it."""
        if self.failures:
            self.failures -= 1
            headers = {"Retry-After": self.retry_after} if self.retry_after is not None else None
            return web.json_response(
                {"error": {"message": "made to fail"}}, status=self.failure_status, headers=headers
            )
        if body.get("model", self.model) != self.model:
            error = {"message": f"The model `{body['model']}` does not exist.", "type": "NotFoundError", "code": 404}
            return web.json_response({"error": error}, status=404)
        if len(body["prompt"]) >= self.max_model_len:
            return web.json_response({"error": {"message": "prompt too long"}}, status=400)
        return None

    async def _work(self, num_tokens: int) -> None:
        """Take the time that an utterance takes."""
        with self._in_flight():
            await asyncio.sleep(self._latency_s() + num_tokens * self.token_latency_s)
            while self.is_hung:  # noqa: ASYNC110  (set from another thread)
                await asyncio.sleep(0.02)

    @contextmanager
    def _in_flight(self) -> Iterator[None]:
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            yield
        finally:
            self.in_flight -= 1

    def _latency_s(self) -> float:
        return self.latency_s

    def _completion(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        choice = self._choice(prompt, body)
        details = None if self.cached_tokens is None else {"cached_tokens": self.cached_tokens}
        counts = {"prompt_tokens": len(prompt), "completion_tokens": len(choice["token_ids"])}
        return {"choices": [choice], "usage": {**counts, "prompt_tokens_details": details}}

    def _choice(self, prompt: tuple[int, ...], body: dict[str, Any]) -> dict[str, Any]:
        digest = hashlib.sha256(repr((prompt, body["seed"])).encode()).digest()
        text = " ".join(_WORDS[b % len(_WORDS)] for b in digest[: 4 + digest[0] % 5])
        if self.ends_one_in and digest[-1] % self.ends_one_in == 0:
            text = ""
        room = min(body["max_tokens"], self.max_model_len - len(prompt))
        ids = [*self.tokenizer.encode(text), self.tokenizer.eos_id][:room]
        ended = ids[-1] == self.tokenizer.eos_id
        return {"token_ids": ids, "text": self.tokenizer.decode(ids), "finish_reason": "stop" if ended else "length"}

    def says(self, prompt: Sequence[int], *, seed: int, max_tokens: int) -> dict[str, Any]:
        """The choice with which a request is answered, without asking."""
        return self._choice(tuple(prompt), {"seed": seed, "max_tokens": max_tokens})

    def application(self) -> web.Application:
        """Its routes."""
        app = web.Application(client_max_size=2**26)
        app.add_routes(
            [
                web.get("/v1/models", self.models),
                web.post("/v1/completions", self.completions),
                web.get("/health", self.health),
                web.get("/metrics", self.metrics),
            ]
        )
        return app

    @contextmanager
    def running(self) -> Iterator[FakeEngine]:
        """Serve on a free loopback port while entered."""
        with serving(self.application()) as address:
            self.url = f"{address}/v1"
            yield self
