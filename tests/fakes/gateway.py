"""A fake model server: OpenAI chat, streamed, as the real gateway answers, with settable faults.

What its engine says is queued by a test, or else depends on the messages and the seed alone; a word is a token. What of
it is shown, and how it ended, is the real gateway's code. It runs in a thread of its own, and keeps what it was asked.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from typing import Any

from aiohttp import web

from platolm.conversation import USER
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.gateway.chat import ChatChunks
from services.gateway.connection import DONE, sse
from services.gateway.errors import RequestError, context_length_exceeded, unavailable
from services.gateway.settings import GatewaySettings
from services.gateway.sides import Asked, Side, side_of
from services.gateway.utterances import HeardStream
from tests.serving import serving
from tests.unit.simulators.tokenizers import DEMO_MODEL

EOS = 2
_WORD = 7
"""Every word's id."""


class GatewayFault(StrEnum):
    """Each spoils one answer."""

    NOT_READY = "not_ready"
    """503 before anything."""
    ERROR_EVENT = "error_event"
    """An error between two tokens, in the stream."""
    ABORTED = "aborted"
    """The engine ended the request itself."""
    CUT = "cut"
    """The connection ends between two tokens."""
    NO_END = "no_end"
    """`[DONE]` without a finish reason."""
    NO_IDS = "no_ids"
    """An engine that knows nothing of `return_token_ids`."""
    NOT_JSON = "not_json"


@dataclass
class FakeGateway:
    """One side. `script` is what its engine says next, in order. One that `is_silent` does not begin to answer.

    `profile` is one that the demo pair's tokenizer can be prompted with; default: Socratic's, or PlatoLM's.
    `num_left` counts clients that went away in the middle of an utterance.
    """

    speaker: str
    max_model_len: int = 2048
    api_key: str | None = None
    script: deque[str] = field(default_factory=deque)
    faults: deque[GatewayFault] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sessions: list[str | None] = field(default_factory=list)
    is_loading: bool = False
    is_silent: bool = False
    profile: str | None = None
    url: str = ""
    num_now: int = 0
    num_left: int = 0
    num_tokens_said: int = 0
    _gate: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._gate.set()

    @property
    def model(self) -> str:
        return "socratic" if self.speaker == USER else "platolm"

    @property
    def side(self) -> Side:
        return side_of(GatewaySettings(profile=self.profile or self.model), _tokenizer())

    @contextmanager
    def running(self) -> Iterator[FakeGateway]:
        """Serve while entered; `url` ends in `/v1`."""
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        with serving(app) as root:
            self.url = f"{root}/v1"
            yield self

    def reset(self) -> None:
        """As new, and nothing noted."""
        self.max_model_len, self.is_loading, self.is_silent, self.profile = 2048, False, False, None
        self.num_left = self.num_tokens_said = 0
        for noted in (self.script, self.faults, self.asked, self.sessions):
            noted.clear()
        self.go_on()

    def hold(self) -> None:
        """Say nothing after the next utterance's first token."""
        self._gate.clear()

    def go_on(self) -> None:
        self._gate.set()

    async def _models(self, request: web.Request) -> web.Response:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        name = self.side.profile_name
        card: dict[str, Any] = {"id": self.model, "object": "model", "speaker": self.speaker, "profile": name}
        if not self.is_loading:
            card["max_model_len"] = self.max_model_len
        return web.json_response({"object": "list", "data": [card]})

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        if (refusal := self._refusal(request)) is not None:
            return refusal
        body = await request.json()
        self.asked.append(body)
        self.sessions.append(request.headers.get("X-Session-Id"))
        fault = self.faults.popleft() if self.faults else None
        num_prompt_tokens = prompt_size(body["messages"])
        room = self.max_model_len - num_prompt_tokens
        if fault is GatewayFault.NOT_READY:
            return _refused(unavailable("this server is not ready: the engine is starting", code="not_ready"))
        if room < 1:
            return _refused(context_length_exceeded(num_prompt_tokens, self.max_model_len))
        if fault is GatewayFault.NOT_JSON:
            return web.Response(body=b"data: {half\n\n", content_type="text/event-stream")
        words = self._words(body)
        self.num_now += 1
        try:
            while self.is_silent:
                await asyncio.sleep(0.01)
                if request.transport is None:
                    raise ConnectionResetError
            return await self._streamed(request, body, words, room, fault)
        except ConnectionError:
            self.num_left += 1
            raise
        finally:
            self.num_now -= 1

    def _words(self, body: dict[str, Any]) -> list[str]:
        if self.script:
            text = self.script.popleft()
        else:
            text = f"{self.speaker} {len(body['messages'])} of seed {body['seed']}"
        return text.split(" ") if text else []

    async def _streamed(
        self, request: web.Request, body: dict[str, Any], words: Sequence[str], room: int, fault: GatewayFault | None
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        with_ids = body.get("return_token_ids", False) and fault is not GatewayFault.NO_IDS
        side = self.side
        heard = HeardStream(side, Asked([]), fills_context=room < body["max_tokens"], count=lambda *_: None)
        chunks = ChatChunks(self.model, self.speaker, side.profile_name, with_ids=with_ids, include_usage=True)
        said = self._choices(words, min(body["max_tokens"], room), prompt_size(body["messages"]))
        for position, choice in enumerate(said):
            if position == 1 and fault is not None and (spoiled := await _spoil(fault, response)):
                return spoiled
            if fault is GatewayFault.ABORTED and position == len(said) - 1:
                choice["finish_reason"] = "abort"
            for chunk in chunks.of(heard.of({"id": "cmpl-1", "created": 1, "choices": [choice]})):
                await response.write(sse(chunk))
            self.num_tokens_said += 1
            while not self._gate.is_set():
                await asyncio.sleep(0.01)
                await response.write(b": still here\n\n")
        cached = {"prompt_tokens_details": {"cached_tokens": 3}}
        for chunk in chunks.of({"id": "cmpl-1", "created": 1, "choices": [], "usage": cached}):
            await response.write(sse(chunk))
        await response.write(DONE)
        return response

    @staticmethod
    def _choices(words: Sequence[str], most: int, num_prompt_tokens: int) -> list[dict[str, Any]]:
        """The engine's stream: a word each, then the eos, or `length` where they are too many."""
        texts = [word if position == 0 else " " + word for position, word in enumerate(words)]
        choices: list[dict[str, Any]] = [
            {"index": 0, "text": text, "token_ids": [_WORD], "finish_reason": None} for text in texts[:most]
        ]
        if len(texts) < most:
            choices.append({"index": 0, "text": "", "token_ids": [EOS], "finish_reason": "stop"})
        else:
            choices[-1]["finish_reason"] = "length"
        choices[0]["prompt_token_ids"] = [_WORD] * num_prompt_tokens
        return choices

    def _refusal(self, request: web.Request) -> web.Response | None:
        if self.api_key is not None and request.headers.get("authorization") != f"Bearer {self.api_key}":
            return _refused(RequestError(401, "a key is needed", code="invalid_api_key"))
        return None


def prompt_size(messages: Sequence[dict[str, str]]) -> int:
    """Tokens of a prompt: a header of four, the next speaker's name, and for each message its words, a name, an eos."""
    return 5 + sum(len(message["content"].split(" ")) + 2 for message in messages)


@cache
def _tokenizer() -> HubTokenizer:
    return load_tokenizer(DEMO_MODEL)


def _refused(error: RequestError) -> web.Response:
    return web.json_response(error.body, status=error.status, headers=error.headers)


async def _spoil(fault: GatewayFault, response: web.StreamResponse) -> web.StreamResponse | None:
    """End an answer after its first token, where the fault is one of those."""
    if fault is GatewayFault.ERROR_EVENT:
        error = RequestError(502, "the engine broke off its answer", kind="server_error")
        await response.write(b"data: " + json.dumps(error.body).encode() + b"\n\n" + DONE)
        return response
    if fault is GatewayFault.NO_END:
        await response.write(DONE)
        return response
    if fault is GatewayFault.CUT:
        assert response._req is not None
        assert response._req.transport is not None
        response._req.transport.abort()
        return response
    return None
