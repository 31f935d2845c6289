"""The door of `/v1` and `/generate`: refuses while draining and beyond the bound, counts and logs each request."""

from __future__ import annotations

import time
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from platolm.simulators.guardrails import Fault, Step
from services.gateway.errors import RequestError, unavailable
from services.gateway.state import ServerState

log = structlog.get_logger()
_GUARDED = "/v1/"
GENERATE = "/generate"
_ROUTES = ("/v1/models", "/v1/chat/completions", "/v1/completions", GENERATE)


class GatewayMetrics:
    """The gateway's own counters; the engine's are passed through beside them."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "platolm_gateway_requests", "Requests answered", ["route", "status"], registry=self.registry
        )
        self.in_flight = Gauge("platolm_gateway_requests_in_flight", "Requests in flight", registry=self.registry)
        self.faults = Counter(
            "platolm_gateway_faults",
            "Faults that a simulator's guardrails found, and what became of the utterance",
            ["fault", "step"],
            registry=self.registry,
        )

    def count_fault(self, fault: Fault, step: Step) -> None:
        self.faults.labels(fault.value, step.value).inc()


class Admission:
    """ASGI middleware around the whole app: a request counts until its last byte is sent."""

    def __init__(self, app: ASGIApp, *, state: ServerState, metrics: GatewayMetrics, max_in_flight: int) -> None:
        self._app = app
        self._state = state
        self._metrics = metrics
        self._max_in_flight = max_in_flight

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not _is_guarded(scope["path"]):
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        status = 499

        async def send_noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        refusal = self._refusal()
        if refusal is not None:
            await error_response(refusal)(scope, receive, send_noting_status)
            self._note(scope, status, started)
            return
        self._state.enter()
        self._metrics.in_flight.inc()
        try:
            await self._app(scope, receive, send_noting_status)
        finally:
            self._metrics.in_flight.dec()
            self._note(scope, status, started)
            self._state.leave()

    def _refusal(self) -> RequestError | None:
        if self._state.draining:
            return unavailable("this server is shutting down", code="shutting_down")
        if self._state.num_in_flight >= self._max_in_flight:
            return RequestError(
                429,
                f"{self._max_in_flight} requests are in flight already",
                kind="rate_limit_error",
                code="too_many_requests",
                retry_after_s=1,
            )
        return None

    def _note(self, scope: Scope, status: int, started: float) -> None:
        route = scope["path"] if scope["path"] in _ROUTES else "other"
        self._metrics.requests.labels(route, str(status)).inc()
        log.info(
            "request", method=scope["method"], route=route, status=status, took_s=round(time.monotonic() - started, 3)
        )


def _is_guarded(path: str) -> bool:
    return path == GENERATE or path.startswith(_GUARDED)


def error_response(error: RequestError) -> JSONResponse:
    """A refusal as OpenAI's clients read it."""
    body: dict[str, Any] = error.body
    return JSONResponse(body, status_code=error.status, headers=error.headers)
