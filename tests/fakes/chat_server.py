"""A scripted OpenAI-compatible chat server, without streaming: what a test makes it say, with faults and a key.

It runs in a thread of its own, and keeps what it was asked. A word is a token.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.serving import serving

Body = dict[str, Any]


@dataclass(frozen=True)
class Refusal:
    """What one request gets instead of an answer; `body` is sent as it is, JSON or not."""

    status: int
    message: str = "made to fail"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str | None = None

    def response(self) -> web.Response:
        if self.body is not None:
            return web.Response(text=self.body, status=self.status, content_type="application/json")
        error = {"error": {"message": self.message, "type": "made_to_fail", "code": None}}
        return web.json_response(error, status=self.status, headers=dict(self.headers))


def last_message(body: Body) -> str:
    """What a request's last message says."""
    return str(body["messages"][-1]["content"])


def echo(body: Body) -> str:
    """An answer that depends on the request alone."""
    return f"answer {len(body['messages'])} to {last_message(body)}"


@dataclass
class ChatServer:
    """`says` makes the answer of a request; one that gives a `Refusal` refuses. `refusals` are for the next requests.

    `hold_after(n)` leaves every request after the n-th unanswered until `go_on`.
    """

    models: tuple[str, ...] = ("scripted",)
    says: Callable[[Body], str | Refusal] = echo
    api_key: str | None = None
    lists_models: bool = True
    refusals: deque[Refusal] = field(default_factory=deque)
    asked: list[Body] = field(default_factory=list)
    url: str = ""
    in_flight: int = 0
    most_in_flight: int = 0
    num_answered: int = 0
    latency_s: float = 0.0
    _held_after: int | None = None
    _held: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def running(self) -> Iterator[ChatServer]:
        """Serve while entered; `url` ends in `/v1`."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        with serving(app) as root:
            self.url = f"{root}/v1"
            yield self

    def hold_after(self, num_requests: int) -> None:
        self._held_after = num_requests

    def go_on(self) -> None:
        self._held_after = None

    def wait_until_held(self, timeout_s: float) -> bool:
        """Whether a request came that is not answered."""
        return self._held.wait(timeout_s)

    async def _models(self, request: web.Request) -> web.Response:
        if (refusal := self._key_refusal(request)) is not None:
            return refusal
        if not self.lists_models:
            return Refusal(404, "Not Found").response()
        return web.json_response({"object": "list", "data": [{"id": name, "object": "model"} for name in self.models]})

    async def _chat(self, request: web.Request) -> web.Response:
        if (refusal := self._key_refusal(request)) is not None:
            return refusal
        body = await request.json()
        self.asked.append(body)
        if body["model"] not in self.models:
            return Refusal(404, f"The model `{body['model']}` does not exist.").response()
        if self.refusals:
            return self.refusals.popleft().response()
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await self._wait(len(self.asked))
            said = self.says(body)
        finally:
            self.in_flight -= 1
        if isinstance(said, Refusal):
            return said.response()
        self.num_answered += 1
        return web.json_response(_completion(body, said))

    async def _wait(self, number: int) -> None:
        await asyncio.sleep(self.latency_s)
        while self._held_after is not None and number > self._held_after:  # set from another thread
            self._held.set()
            await asyncio.sleep(0.01)

    def _key_refusal(self, request: web.Request) -> web.Response | None:
        if self.api_key is None or request.headers.get("Authorization") == f"Bearer {self.api_key}":
            return None
        return Refusal(401, "Incorrect API key provided.").response()


def _completion(body: Body, said: str) -> dict[str, Any]:
    num_prompt = sum(len(message["content"].split()) for message in body["messages"])
    num_said = len(said.split())
    usage = {"prompt_tokens": num_prompt, "completion_tokens": num_said, "total_tokens": num_prompt + num_said}
    message = {"role": "assistant", "content": said}
    choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": body["model"],
        "choices": [choice],
        "usage": usage,
    }
