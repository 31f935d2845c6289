"""A proxy between worker and engine that keeps every answer: what the running engine itself reports of each prompt."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
from aiohttp import web

from tests.serving import serving


@dataclass(frozen=True)
class Exchange:
    """One completion: the ids sent, and the ids that the engine says it was prompted with and generated."""

    sent: list[int]
    prompt_token_ids: list[int]
    token_ids: list[int]
    seed: int


@dataclass
class RecordingProxy:
    """Forwards `/v1/...` to `target` (an engine's base URL ending in /v1)."""

    target: str
    url: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    async def forward(self, request: web.Request) -> web.Response:
        body = await request.json() if request.method == "POST" else None
        url = self.target + request.path.removeprefix("/v1")
        async with aiohttp.ClientSession() as session, session.request(request.method, url, json=body) as response:
            answer: dict[str, Any] = await response.json()
            if body is not None and response.status == 200:
                choice = answer["choices"][0]
                self.exchanges.append(
                    Exchange(body["prompt"], choice["prompt_token_ids"], choice["token_ids"], body["seed"])
                )
            return web.json_response(answer, status=response.status)

    @contextmanager
    def running(self) -> Iterator[RecordingProxy]:
        """Serve on a free loopback port while entered."""
        app = web.Application(client_max_size=2**26)
        app.add_routes([web.route("*", "/v1/{rest:.*}", self.forward)])
        with serving(app) as address:
            self.url = f"{address}/v1"
            yield self
