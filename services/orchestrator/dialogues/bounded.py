"""Bounds of talks: a body far smaller than a run's submission may have, and so many talks at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from fastapi import HTTPException, Request, Response
from fastapi.routing import APIRoute
from starlette.types import Message

from services.orchestrator.dialogues.gateways import GatewayClient, open_gateways
from services.orchestrator.settings import ApiSettings
from services.orchestrator.web.bodies import MIB

MAX_BODY_BYTES = 8 * MIB
"""A model server takes half of that by default; a body is read and checked on the loop that all streams share."""
RETRY_AFTER_S = 2


class SmallBodyRoute(APIRoute):
    """A route whose body may have `MAX_BODY_BYTES`, counted as it arrives; 413 beyond."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            return await handle(_counted(request))

        return bounded


def _counted(request: Request) -> Request:
    received = 0

    async def receive() -> Message:
        nonlocal received
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > MAX_BODY_BYTES:
            detail = f"a talk's request may have {MAX_BODY_BYTES} bytes: send fewer messages"
            raise HTTPException(413, detail, {"Connection": "close"})
        return message

    return Request(request.scope, receive)


class Dialogues:
    """Who speaks in talks, and how many talks they speak in at a time."""

    def __init__(self, gateways: Mapping[str, GatewayClient], *, max_at_once: int) -> None:
        self.gateways = gateways
        self._max_at_once = max_at_once
        self._num_now = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """A place among those that go on now.

        Raises:
            HTTPException: 503, all are taken.
        """
        if self._num_now >= self._max_at_once:
            detail = f"{self._num_now} talks are going on already (max_dialogues): try again in a moment"
            raise HTTPException(503, detail, {"Retry-After": str(RETRY_AFTER_S)})
        self._num_now += 1
        try:
            yield
        finally:
            self._num_now -= 1


@asynccontextmanager
async def open_dialogues(settings: ApiSettings) -> AsyncIterator[Dialogues]:
    """With a pool of connections to the model servers, closed at the end."""
    async with open_gateways(settings) as gateways:
        yield Dialogues(gateways, max_at_once=settings.max_dialogues)
