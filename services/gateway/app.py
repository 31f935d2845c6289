"""The FastAPI app of a model server: OpenAI's routes, health, metrics."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI, Request
from prometheus_client import generate_latest
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, PlainTextResponse, Response

from platolm import __version__
from platolm.conversation import USER
from platolm.simulators.formats import PromptTokenizer
from services.gateway import reference
from services.gateway.admission import GENERATE, Admission, GatewayMetrics, error_response
from services.gateway.client import engine_client
from services.gateway.errors import ClientGoneError, RequestError
from services.gateway.generation import Generation
from services.gateway.keys import check_authorization
from services.gateway.settings import GatewaySettings
from services.gateway.sides import side_of, warn_of_another_format
from services.gateway.state import ServerState
from services.gateway.watch import watch_engine

_CLIENT_CLOSED_REQUEST = 499


def create_app(settings: GatewaySettings, tokenizer: PromptTokenizer, state: ServerState) -> FastAPI:
    """The app; its lifespan opens the engine client and the engine's watch.

    Raises:
        TokenizerError: the tokenizer lacks what the profile's prompts are made of.
    """
    metrics = GatewayMetrics()
    side = side_of(settings, tokenizer)
    warn_of_another_format(settings, tokenizer)
    started = int(time.time())

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        key = settings.engine_api_key.get_secret_value() if settings.engine_api_key is not None else None
        async with engine_client(settings.engine_base_url, api_key=key, timeout_s=settings.request_timeout_s) as client:
            app.state.generation = Generation(settings, tokenizer, side, client, state, metrics.count_fault)
            app.state.client = client
            watch = asyncio.create_task(watch_engine(client, settings, tokenizer, state))
            try:
                yield
            finally:
                watch.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await watch

    app = FastAPI(
        title=f"PlatoLM {settings.served_model_name}",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Admission, state=state, metrics=metrics, max_in_flight=settings.max_in_flight)
    _add_error_handlers(app)
    _add_openai_routes(app, settings, started)
    if side.speaker == USER:
        _add_original_route(app, settings)
    _add_health_routes(app, settings, state, metrics)
    return app


def _add_openai_routes(app: FastAPI, settings: GatewaySettings, started: int) -> None:
    def check(request: Request) -> None:
        check_authorization(request.headers.get("authorization"), settings.api_keys)

    @app.get("/v1/models")
    async def models(request: Request) -> dict[str, Any]:
        check(request)
        generation: Generation = request.app.state.generation
        return {"object": "list", "data": [generation.model_card(created=started)]}

    @app.get("/v1/models/{name}")
    async def model(request: Request, name: str) -> dict[str, Any]:
        check(request)
        generation: Generation = request.app.state.generation
        generation.check_model(name)
        return generation.model_card(created=started)

    @app.post("/v1/chat/completions", **reference.CHAT)
    async def chat_completions(request: Request) -> Response:
        check(request)
        generation: Generation = request.app.state.generation
        return await generation.chat(request)

    @app.post("/v1/completions", **reference.COMPLETION)
    async def completions(request: Request) -> Response:
        check(request)
        generation: Generation = request.app.state.generation
        return await generation.complete(request)


def _add_original_route(app: FastAPI, settings: GatewaySettings) -> None:
    @app.post(GENERATE, **reference.GENERATE)
    async def generate(request: Request) -> Response:
        check_authorization(request.headers.get("authorization"), settings.api_keys)
        generation: Generation = request.app.state.generation
        return await generation.generate(request)


def _add_health_routes(
    app: FastAPI, settings: GatewaySettings, state: ServerState, gateway_metrics: GatewayMetrics
) -> None:
    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "alive"}

    @app.get("/health")
    @app.get("/readyz")
    async def readyz() -> JSONResponse:
        reason = state.reason
        if reason is None:
            return JSONResponse({"status": "ready", "model": settings.served_model_name})
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)

    @app.get("/metrics")
    async def metrics(request: Request) -> PlainTextResponse:
        if settings.metrics_need_key:
            check_authorization(request.headers.get("authorization"), settings.api_keys)
        own = generate_latest(gateway_metrics.registry).decode()
        return PlainTextResponse(own + await request.app.state.client.metrics())


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(RequestError)
    async def refused(request: Request, error: RequestError) -> JSONResponse:
        return error_response(error)

    @app.exception_handler(ClientGoneError)
    async def gone(request: Request, error: ClientGoneError) -> Response:
        return Response(status_code=_CLIENT_CLOSED_REQUEST)

    @app.exception_handler(HTTPException)
    async def no_route(request: Request, error: HTTPException) -> JSONResponse:
        return error_response(RequestError(error.status_code, f"{request.method} {request.url.path}: {error.detail}"))

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        return error_response(
            RequestError(500, "this server failed; see its log", kind="server_error", code="internal_error")
        )
