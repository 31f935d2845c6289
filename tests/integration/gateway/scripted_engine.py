"""An engine that says what a test scripted, and the real gateway before it, each on a free loopback port."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvicorn
from aiohttp import web

from platolm.simulators.formats import PromptTokenizer
from services.gateway.app import create_app
from services.gateway.engine import listen
from services.gateway.settings import GatewaySettings
from services.gateway.state import ServerState
from tests.serving import serving

_START_TIMEOUT_S = 20


@dataclass(frozen=True)
class Answer:
    """An utterance in the pieces in which it streams, and how the engine ended it."""

    pieces: tuple[str, ...]
    finish_reason: str = "stop"
    stop_reason: int | str | None = None


@dataclass
class ScriptedEngine:
    """vLLM's completions route; `asked` keeps the bodies. Without a script it answers with nothing."""

    max_model_len: int = 256
    script: deque[Answer] = field(default_factory=deque)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def says(self, *pieces: str, finish_reason: str = "stop", stop_reason: int | str | None = None) -> None:
        """Script one more utterance."""
        self.script.append(Answer(pieces, finish_reason, stop_reason))

    def application(self) -> web.Application:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._empty),
                web.get("/metrics", self._empty),
                web.get("/v1/models", self._models),
                web.post("/v1/completions", self._complete),
            ]
        )
        return app

    async def _empty(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": [{"id": "engine", "max_model_len": self.max_model_len}]})

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        is_probe = len(body["prompt"]) == 1
        if not is_probe:
            self.asked.append(body)
        answer = self.script.popleft() if self.script and not is_probe else Answer(("",))
        if body.get("stream"):
            return await _streamed(request, answer)
        choice = {"text": "".join(answer.pieces), "finish_reason": answer.finish_reason}
        counts = {"prompt_tokens": len(body["prompt"]), "completion_tokens": 1, "total_tokens": len(body["prompt"]) + 1}
        return web.json_response(_event(choice | {"stop_reason": answer.stop_reason}) | {"usage": counts})


async def _streamed(request: web.Request, answer: Answer) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    choices: list[dict[str, Any]] = [{"text": piece, "finish_reason": None} for piece in answer.pieces]
    choices.append({"text": "", "finish_reason": answer.finish_reason, "stop_reason": answer.stop_reason})
    for choice in choices:
        await response.write(f"data: {json.dumps(_event(choice))}\n\n".encode())
    await response.write(b"data: [DONE]\n\n")
    return response


def _event(choice: dict[str, Any]) -> dict[str, Any]:
    full = {"index": 0, "logprobs": None, **choice}
    return {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "engine", "choices": [full]}


@contextmanager
def gateway_before(engine: ScriptedEngine, tokenizer: PromptTokenizer, **settings: Any) -> Iterator[str]:
    """Serve the real app while entered; gives its address, `http://host:port`."""
    with serving(engine.application()) as engine_url, listen("127.0.0.1", 0) as sock:
        app = create_app(GatewaySettings(engine_url=engine_url, **settings), tokenizer, ServerState())
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, lifespan="on", ws="none"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
        thread.start()
        address = f"http://127.0.0.1:{sock.getsockname()[1]}"
        try:
            _wait_ready(address)
            yield address
        finally:
            server.should_exit = True
            thread.join(10)


def _wait_ready(address: str) -> None:
    deadline = time.monotonic() + _START_TIMEOUT_S
    while httpx.get(address + "/readyz", trust_env=False).status_code != 200:
        assert time.monotonic() < deadline, "the gateway did not become ready"
        time.sleep(0.05)
