"""Answers the generating routes: ids out of the request, the engine's reply into OpenAI's shapes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from platolm.goodbyes import LIKELIEST
from platolm.simulators.formats import PromptTokenizer
from services.gateway.chat import ENDING, ChatChunks, chat_object
from services.gateway.client import EngineClient, EngineModel
from services.gateway.connection import read_body, server_sent, unless_gone
from services.gateway.errors import NO_ROOM, RequestError
from services.gateway.judging import Judge
from services.gateway.original import GenerateRequest, end_of_session, next_turn
from services.gateway.prompts import completion_prompts, read_messages, room_for
from services.gateway.schemas import ChatRequest, CompletionRequest, parse_body
from services.gateway.settings import GatewaySettings
from services.gateway.sides import Asked, Side
from services.gateway.state import ServerState
from services.gateway.utterances import CountFault, HeardStream

log = structlog.get_logger()
Json = dict[str, Any]
Events = AsyncIterator[Mapping[str, Any]]


@dataclass(frozen=True)
class _Work:
    """A chat request as it goes to the engine. `fills_context`: it may generate to the end of the context."""

    asked: Asked
    engine_body: Json
    fills_context: bool


class Generation:
    """The generating half of one model server."""

    def __init__(
        self,
        settings: GatewaySettings,
        tokenizer: PromptTokenizer,
        side: Side,
        client: EngineClient,
        state: ServerState,
        count_fault: CountFault,
    ) -> None:
        self._settings = settings
        self._tokenizer = tokenizer
        self._side = side
        self._client = client
        self._state = state
        self._count_fault = count_fault

    def model_card(self, *, created: int) -> Json:
        """The one entry of `/v1/models`."""
        card: Json = {
            "id": self._settings.served_model_name,
            "object": "model",
            "created": created,
            "owned_by": "platolm",
            "speaker": self._side.speaker,
            "profile": self._side.profile_name,
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
        work = self._work(body)
        model, speaker, profile = self._settings.served_model_name, self._side.speaker, self._side.profile_name
        if body.stream:
            heard = HeardStream(self._side, work.asked, fills_context=work.fills_context, count=self._count_fault)
            ids, usage = body.return_token_ids, body.include_usage
            chunks = ChatChunks(model, speaker, profile, with_ids=ids, include_usage=usage)
            return await self._streamed(request, work.engine_body, lambda event: chunks.of(heard.of(event)))
        reply = await self._judged(request, work)
        with_ids = body.return_token_ids
        return JSONResponse(chat_object(reply, model=model, speaker=speaker, profile=profile, with_ids=with_ids))

    async def generate(self, request: Request) -> Response:
        """`POST /generate` of the original; every end is the session's, whatever was said before it."""
        body = parse_body(GenerateRequest, await read_body(request, self._settings.max_body_bytes))
        try:
            reply = await self._judged(request, self._work(body.as_chat()))
        except RequestError as error:
            if error.code == NO_ROOM:
                return JSONResponse(end_of_session())
            raise
        choice = reply["choices"][0]
        is_over = choice[ENDING]["ended"] or not choice["text"].strip()
        return JSONResponse(end_of_session() if is_over else next_turn(body.history, choice["text"]))

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

    def _work(self, body: ChatRequest) -> _Work:
        engine = self._state.ready_engine()
        log.debug("messages", messages=body.messages)
        asked = self._side.read(read_messages(body.messages), body.told.as_told())
        asked = replace(asked, min_turns=body.platolm.min_turns, tells_goodbye=body.platolm.goodbye_probability)
        wanted = body.limit if body.limit is not None else self._settings.max_tokens
        max_tokens = room_for(len(asked.ids), body.limit, self._settings.max_tokens, engine.max_model_len)
        engine_body = self._engine_body(engine, body, asked.ids, max_tokens)
        if asked.tells_goodbye and self._side.goodbyes:
            engine_body["logprobs"] = LIKELIEST
        return _Work(asked, engine_body, fills_context=max_tokens < wanted)

    async def _judged(self, request: Request, work: _Work) -> Json:
        """The engine's whole reply, cleaned; every choice has its ending."""
        judge = Judge(
            self._client.complete,
            self._side,
            work.asked,
            work.fills_context,
            self._settings.guardrail_retries,
            self._count_fault,
        )
        return await unless_gone(request, judge.reply(work.engine_body))

    def _engine_body(
        self,
        engine: EngineModel,
        body: ChatRequest | CompletionRequest,
        prompt: list[int] | list[list[int]],
        max_tokens: int,
    ) -> Json:
        result: Json = {"model": engine.name, "prompt": prompt, "max_tokens": max_tokens}
        result |= {**self._side.default_sampling, **body.sampling()} | self._stops(body)
        if body.return_token_ids:
            result["return_token_ids"] = True
        if body.stream and body.include_usage:
            result["stream_options"] = {"include_usage": True}
        return result

    def _stops(self, body: ChatRequest | CompletionRequest) -> Json:
        """The end of a turn stops the engine, whatever the model's own configuration says; in a chat goodbyes too."""
        if body.ignore_eos:
            return {}
        is_chat = isinstance(body, ChatRequest)
        ids = self._side.stop_ids if is_chat else self._side.turn_end_ids
        stops: Json = {"stop_token_ids": [*(body.stop_token_ids or []), *ids]}
        if is_chat and self._side.stop_strings:
            own = [body.stop] if isinstance(body.stop, str) else body.stop or []
            stops["stop"] = [*own, *self._side.stop_strings]
        return stops

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
