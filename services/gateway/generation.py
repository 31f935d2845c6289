"""Answers the two generating routes: ids out of the request, the engine's reply into OpenAI's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from platolm.tokenizer import TextTokenizer
from services.gateway.chat import ChatChunks, chat_object
from services.gateway.client import EngineClient, EngineModel
from services.gateway.connection import read_body, server_sent, unless_gone
from services.gateway.errors import RequestError
from services.gateway.prompts import chat_prompt_ids, completion_prompts, room_for
from services.gateway.schemas import ChatRequest, CompletionRequest, parse_body
from services.gateway.settings import GatewaySettings
from services.gateway.state import ServerState

log = structlog.get_logger()
Json = dict[str, Any]
Events = AsyncIterator[Mapping[str, Any]]


class Generation:
    """The generating half of one model server."""

    def __init__(
        self, settings: GatewaySettings, tokenizer: TextTokenizer, client: EngineClient, state: ServerState
    ) -> None:
        self._settings = settings
        self._tokenizer = tokenizer
        self._client = client
        self._state = state

    def model_card(self, *, created: int) -> Json:
        """The one entry of `/v1/models`."""
        card: Json = {
            "id": self._settings.served_model_name,
            "object": "model",
            "created": created,
            "owned_by": "platolm",
            "speaker": self._settings.dyadic_profile.target_role,
        }
        if self._state.engine is not None:
            card["max_model_len"] = self._state.engine.max_model_len
        return card

    def check_model(self, name: str | None) -> None:
        """Refuse a request for another model.

        Raises:
            RequestError: 404.
        """
        served = self._settings.served_model_name
        if name and name != served:
            raise RequestError(
                404, f"The model {name!r} does not exist here; this server has {served!r}.", code="model_not_found"
            )

    async def chat(self, request: Request) -> Response:
        """`POST /v1/chat/completions`."""
        body = parse_body(ChatRequest, await read_body(request, self._settings.max_body_bytes))
        self.check_model(body.model)
        engine = self._state.ready_engine()
        profile = self._settings.dyadic_profile
        log.debug("messages", messages=body.messages)
        ids = chat_prompt_ids(body.messages, profile, self._tokenizer)
        max_tokens = room_for(len(ids), body.limit, self._settings.max_tokens, engine.max_model_len)
        engine_body = self._engine_body(engine, body, ids, max_tokens)
        model = self._settings.served_model_name
        if body.stream:
            chunks = ChatChunks(
                model, profile.target_role, with_ids=body.return_token_ids, include_usage=body.include_usage
            )
            return await self._streamed(request, engine_body, chunks.of)
        reply = await unless_gone(request, self._client.complete(engine_body))
        return JSONResponse(
            chat_object(reply, model=model, speaker=profile.target_role, with_ids=body.return_token_ids)
        )

    async def complete(self, request: Request) -> Response:
        """`POST /v1/completions`."""
        body = parse_body(CompletionRequest, await read_body(request, self._settings.max_body_bytes))
        self.check_model(body.model)
        engine = self._state.ready_engine()
        prompts = completion_prompts(body.prompt, self._tokenizer)
        limit = engine.max_model_len
        max_tokens = max(room_for(len(ids), body.max_tokens, self._settings.max_tokens, limit) for ids in prompts)
        engine_body = self._engine_body(engine, body, prompts if len(prompts) > 1 else prompts[0], max_tokens)
        model = self._settings.served_model_name
        if body.stream:
            return await self._streamed(request, engine_body, lambda event: [{**event, "model": model}])
        reply = await unless_gone(request, self._client.complete(engine_body))
        return JSONResponse({**reply, "model": model})

    def _engine_body(
        self,
        engine: EngineModel,
        body: ChatRequest | CompletionRequest,
        prompt: list[int] | list[list[int]],
        max_tokens: int,
    ) -> Json:
        sampling = {"temperature": self._settings.temperature, "top_p": self._settings.top_p} | body.sampling()
        if not body.ignore_eos:  # the dyadic eos ends a turn, whatever the model's own configuration says
            sampling["stop_token_ids"] = [*(body.stop_token_ids or []), self._tokenizer.eos_id]
        result: Json = {"model": engine.name, "prompt": prompt, "max_tokens": max_tokens, **sampling}
        if body.return_token_ids:
            result["return_token_ids"] = True
        if body.stream and body.include_usage:
            result["stream_options"] = {"include_usage": True}
        return result

    async def _streamed(
        self, request: Request, engine_body: Json, chunks_of: Callable[[Mapping[str, Any]], list[Json]]
    ) -> Response:
        """Server-sent events; the first is awaited before the status is sent, so that a refusal keeps its own."""
        events = self._client.stream(engine_body)
        first = await unless_gone(request, _first(events))

        async def chunks() -> Events:
            for chunk in chunks_of(first):
                yield chunk
            async for event in events:
                for chunk in chunks_of(event):
                    yield chunk

        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(server_sent(chunks()), media_type="text/event-stream", headers=headers)


async def _first(events: AsyncIterator[Json]) -> Json:
    return await anext(events)
