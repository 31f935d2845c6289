"""Counts the API's requests by the route that served them."""

from __future__ import annotations

import time

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

RESPONSE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
UNMATCHED = "unmatched"
CLIENT_LEFT = 499
"""Counted where the client was gone before an answer began."""

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class HttpMetrics:
    """What is counted of requests; labels are bounded whatever clients send."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter(
            "platolm_http_requests", "Requests ended", ["method", "route", "status"], registry=registry
        )
        self.seconds = Histogram(
            "platolm_http_response_seconds",
            "Time from a request to the first byte of its answer",
            ["method", "route"],
            registry=registry,
            buckets=RESPONSE_BUCKETS_S,
        )
        self.in_flight = Gauge("platolm_http_requests_in_flight", "Requests being answered", registry=registry)


class CountRequests:
    """ASGI middleware. The time stops where an answer begins: event streams last as long as their reader wants."""

    def __init__(self, app: ASGIApp, *, metrics: HttpMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started, status = time.monotonic(), CLIENT_LEFT

        async def send_noting_start(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                method, route = _labels(scope)
                self._metrics.seconds.labels(method, route).observe(time.monotonic() - started)
            await send(message)

        with self._metrics.in_flight.track_inprogress():
            try:
                await self._app(scope, receive, send_noting_start)
            except Exception as error:
                if status == CLIENT_LEFT and not isinstance(error, ClientDisconnect):
                    status = 500  # what the server makes of it, outside this middleware
                raise
            finally:
                self._metrics.requests.labels(*_labels(scope), str(status)).inc()


def _labels(scope: Scope) -> tuple[str, str]:
    """Method and route template; paths that nothing serves are one, for they may be anything."""
    method = scope["method"] if scope["method"] in _METHODS else "other"
    return method, getattr(scope.get("route"), "path", UNMATCHED)
