"""A worker's health and metrics over HTTP: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from aiohttp import web
from prometheus_client import CollectorRegistry, Gauge, generate_latest

if TYPE_CHECKING:
    from services.orchestrator.worker import Worker


class HealthServer:
    """Serves while entered; port 0 serves nothing."""

    def __init__(self, worker: Worker, host: str, port: int) -> None:
        self._worker = worker
        self._host = host
        self._port = port
        self._registry = CollectorRegistry()
        in_flight = Gauge(
            "platolm_worker_conversations_in_flight", "Conversations that this worker owns", registry=self._registry
        )
        in_flight.set_function(lambda: worker.num_in_flight)
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> HealthServer:
        if self._port == 0:
            return self
        app = web.Application()
        app.add_routes(
            [web.get("/healthz", self._healthz), web.get("/readyz", self._readyz), web.get("/metrics", self._metrics)]
        )
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._worker.ready.is_set()
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(self._registry), headers={"Content-Type": "text/plain; version=0.0.4"})
