"""Health and metrics of a process that serves nothing else: `/healthz`, `/readyz`, `/metrics`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry

from services.orchestrator.metrics.registry import EXPOSITION_TYPE, exposition, process_registry


class Watched(Protocol):
    """What is looked at: a worker, a writer."""

    @property
    def ready(self) -> asyncio.Event:
        """Set while it does its work."""
        ...


def _no_problem() -> str | None:
    return None


class HealthServer:
    """Serves while entered; port 0 serves nothing.

    `problem` says why a process that has started cannot work now (a full disk), or gives None. `registry` is what
    `/metrics` shows; without one it tells of the process alone.
    """

    def __init__(
        self,
        watched: Watched,
        host: str,
        port: int,
        *,
        registry: CollectorRegistry | None = None,
        problem: Callable[[], str | None] = _no_problem,
    ) -> None:
        self._watched = watched
        self._host = host
        self._port = port
        self._registry = registry if registry is not None else process_registry()
        self._problem = problem
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
        if not self._watched.ready.is_set():
            return web.json_response({"ready": False, "detail": "it has not started, or is stopping"}, status=503)
        problem = self._problem()
        if problem is not None:
            return web.json_response({"ready": False, "detail": problem}, status=503)
        return web.json_response({"ready": True})

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=exposition(self._registry), headers={"Content-Type": EXPOSITION_TYPE})
