"""A scripted OpenAI-compatible chat server: whole answers and streams, a key, limits a minute, and faults.

It runs in a thread of its own, and keeps what it was asked. A word is a token. Azure's paths and key are taken too.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.fakes.faults import STALLED_FOR_S, Fault, hang_up, spoiled
from tests.fakes.rate_window import RateWindow
from tests.serving import serving

Body = dict[str, Any]

MODEL = "scripted"
STREAM_CUTS = frozenset({Fault.RESET, Fault.TRUNCATED, Fault.STALLED})
"""Faults that end a stream in its middle; the others spoil it as a whole answer."""


@dataclass(frozen=True)
class Refusal:
    """What one request gets instead of an answer."""

    status: int
    message: str = "made to fail"
    code: str | None = None
    param: str | None = None
    type: str = "made_to_fail"
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self) -> web.Response:
        error = {"message": self.message, "type": self.type, "code": self.code, "param": self.param}
        return web.json_response({"error": error}, status=self.status, headers=dict(self.headers))


def echo(body: Body) -> str:
    """An answer that depends on the request alone."""
    return f"answer {len(body['messages'])} to {body['messages'][-1]['content']}"


def one_piece(text: str) -> Sequence[str]:
    return [text]


def letters(text: str) -> Sequence[str]:
    """The smallest pieces of a stream: nothing is whole in any of them."""
    return list(text)


@dataclass
class OpenAIServer:
    """Set its fields while it runs; `spoilers` are for the next requests, one each, None for none.

    `pieces` is how a stream is cut. `tells_usage` off: it counts no tokens. `headers` go with every answer. A request
    whose words exceed `context_tokens` is refused in OpenAI's words.
    """

    says: Callable[[Body], str] = echo
    api_key: str | None = None
    latency_s: float = 0.0
    context_tokens: int | None = None
    requests: RateWindow = field(default_factory=RateWindow)
    tokens: RateWindow = field(default_factory=RateWindow)
    tells_retry_after: bool = True
    tells_usage: bool = True
    headers: dict[str, str] = field(default_factory=dict)
    finish_reason: str = "stop"
    pieces: Callable[[str], Sequence[str]] = one_piece
    spoilers: deque[Refusal | Fault | None] = field(default_factory=deque)
    asked: list[Body] = field(default_factory=list)
    asked_paths: list[str] = field(default_factory=list)
    num_answered: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    url: str = ""

    @contextmanager
    def running(self) -> Iterator[OpenAIServer]:
        """Serve while entered; `url` ends in `/v1`."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/openai/deployments/{model}/chat/completions", self._chat)
        with serving(app) as root:
            self.url = f"{root}/v1"
            yield self

    @property
    def azure_url(self) -> str:
        """The resource's address."""
        return self.url.removesuffix("/v1")

    async def _models(self, request: web.Request) -> web.StreamResponse:
        refusal = self._key_refusal(request)
        return refusal.response() if refusal else web.json_response({"object": "list", "data": [{"id": MODEL}]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked.append(body)
        self.asked_paths.append(request.path_qs)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            return await self._answered(request, body)
        finally:
            self.in_flight -= 1

    async def _answered(self, request: web.Request, body: Body) -> web.StreamResponse:
        refusal = self._key_refusal(request) or self._limit_refusal(body) or self._body_refusal(body)
        if refusal is not None:
            return refusal.response()
        spoiler = self.spoilers.popleft() if self.spoilers else None
        if isinstance(spoiler, Refusal):
            return spoiler.response()
        await asyncio.sleep(self.latency_s)
        answer = self._completion(body, self.says(body))
        if body.get("stream") and (spoiler is None or spoiler in STREAM_CUTS):
            return await self._stream(request, body, answer, spoiler)
        if spoiler is not None:
            return await spoiled(spoiler, request, answer)
        self.num_answered += 1
        return web.json_response(answer, headers=self.headers)

    def _key_refusal(self, request: web.Request) -> Refusal | None:
        given = request.headers.get("api-key") or request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.api_key is None or given == self.api_key:
            return None
        return Refusal(401, f"Incorrect API key provided: {given}.", "invalid_api_key", type="invalid_request_error")

    def _limit_refusal(self, body: Body) -> Refusal | None:
        now = time.monotonic()
        num_tokens = _num_words(body) + _max_tokens(body)
        if self.requests.admits(now) & self.tokens.admits(now, num_tokens):
            return None
        wait_s = max(self.requests.room_in_s(now), self.tokens.room_in_s(now))
        headers = {"Retry-After": f"{wait_s:.3f}"} if self.tells_retry_after else {}
        return Refusal(429, "Rate limit reached.", "rate_limit_exceeded", headers=headers)

    def _body_refusal(self, body: Body) -> Refusal | None:
        if body["model"] != MODEL:
            return Refusal(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        if self.context_tokens is not None and _num_words(body) > self.context_tokens:
            message = f"This model's maximum context length is {self.context_tokens} tokens."
            return Refusal(400, message, "context_length_exceeded", "messages")
        return None

    def _completion(self, body: Body, said: str) -> dict[str, Any]:
        num_prompt, num_said = _num_words(body), len(said.split())
        usage = {"prompt_tokens": num_prompt, "completion_tokens": num_said, "total_tokens": num_prompt + num_said}
        message = {"role": "assistant", "content": said}
        choice = {"index": 0, "message": message, "finish_reason": self.finish_reason, "logprobs": None}
        told = {"usage": usage} if self.tells_usage else {}
        return {
            "id": "chatcmpl-1",
            "object": "chat.completion",
            "created": 1,
            "model": MODEL,
            "choices": [choice],
            **told,
        }

    async def _stream(
        self, request: web.Request, body: Body, answer: Mapping[str, Any], cut: Fault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", **self.headers})
        events = self._events(body, answer)
        try:
            await response.prepare(request)
            for event in events if cut is None else events[: len(events) // 2]:
                await response.write(event)
                await asyncio.sleep(0)
            if cut is Fault.RESET:
                hang_up(request)
            elif cut is Fault.STALLED:
                await asyncio.sleep(STALLED_FOR_S)
        except ConnectionError:
            return response
        self.num_answered += cut is None
        return response

    def _events(self, body: Body, answer: Mapping[str, Any]) -> list[bytes]:
        frame = {"id": answer["id"], "object": "chat.completion.chunk", "created": 1, "model": MODEL}
        deltas: list[tuple[dict[str, str], str | None]] = [({"role": "assistant", "content": ""}, None)]
        deltas += [({"content": piece}, None) for piece in self.pieces(answer["choices"][0]["message"]["content"])]
        deltas.append(({}, self.finish_reason))
        chunks: list[dict[str, Any]] = [
            {**frame, "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]} for delta, reason in deltas
        ]
        if (body.get("stream_options") or {}).get("include_usage") and "usage" in answer:
            chunks.append({**frame, "choices": [], "usage": answer["usage"]})
        return [*(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks), b"data: [DONE]\n\n"]


def _num_words(body: Body) -> int:
    return sum(len(message["content"].split()) for message in body["messages"])


def _max_tokens(body: Body) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens") or 0)
