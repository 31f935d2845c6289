"""The orchestrator's API: HTTP only; the dataset writer and the workers are processes of their own.

python -m services.orchestrator.app [--help]
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import typer
import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel, ValidationError

from platolm import __version__
from services.gateway.errors import MISUSE, StartError
from services.logs import configure_logs
from services.orchestrator import crash_points
from services.orchestrator.conversations import endpoints as conversation_endpoints
from services.orchestrator.conversations.events import LiveEvents
from services.orchestrator.metrics import api as metrics_endpoints
from services.orchestrator.metrics.api import ApiMetrics
from services.orchestrator.metrics.http import CountRequests
from services.orchestrator.queue import Queue, open_redis
from services.orchestrator.runs import dataset_endpoints
from services.orchestrator.runs import endpoints as run_endpoints
from services.orchestrator.runs.service import RunService
from services.orchestrator.settings import ApiSettings
from services.orchestrator.web.auth import BearerAuth, check_host
from services.orchestrator.web.bodies import MIB, BodyLimit
from services.orchestrator.web.description import describe
from services.orchestrator.web.refusals import COMMON, add_error_handlers

SHUTDOWN_S = 5
"""Time for answers that are on their way; live events end at once."""


class Health(BaseModel):
    status: str


def create_app(settings: ApiSettings) -> FastAPI:
    """The API over one Redis and the places of the datasets."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_redis(settings.redis_url) as redis:
            queue = Queue(redis)
            app.state.queue = queue
            app.state.metrics.watch(redis, queue)
            app.state.runs = RunService(settings, queue)
            app.state.live = LiveEvents(queue)
            yield
            await app.state.live.close()
            await queue.close()

    app = FastAPI(
        title="PlatoLM orchestrator",
        version=__version__,
        lifespan=lifespan,
        responses=COMMON,
        separate_input_output_schemas=False,
    )
    app.state.metrics = ApiMetrics()
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_mib * MIB)
    app.add_middleware(BearerAuth, keys=settings.api_keys)
    app.add_middleware(CountRequests, metrics=app.state.metrics.http)
    for module in (run_endpoints, dataset_endpoints, conversation_endpoints, metrics_endpoints):
        app.include_router(module.router)
    add_error_handlers(app)
    _add_health(app)
    describe(app, needs_key=settings.api_keys is not None)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> Health:
        """The process lives."""
        return Health(status="ok")

    @app.get("/readyz", tags=["health"])
    async def readyz(request: Request) -> Health:
        """Redis answers, so that runs can be taken."""
        queue: Queue = request.app.state.queue
        await queue.ping()
        return Health(status="ready")


def serve(given: dict[str, Any]) -> int:
    """Serve until told to stop; the process's exit code."""
    try:
        settings = ApiSettings(**{name: value for name, value in given.items() if value is not None})
        check_host(settings.host, settings.api_keys)
        crash_points.arm(settings.crash_at)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"])
            print(f"error: PLATOLM_API_{name.upper()}: {problem['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return MISUSE
    except (StartError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return MISUSE
    configure_logs(settings.log_level, service="api")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_S,
    )
    return 0


def main(
    host: str = typer.Option(None, help="[env PLATOLM_API_HOST]"),
    port: int = typer.Option(None, help="[env PLATOLM_API_PORT]"),
    redis_url: str = typer.Option(None, help="[env PLATOLM_API_REDIS_URL]"),
    data_dir: Path = typer.Option(None, help="where runs and their datasets lie [env PLATOLM_API_DATA_DIR]"),
) -> None:
    """Serve the orchestrator's API.

    Every setting has an environment variable PLATOLM_API_*. The API is described at /docs.
    """
    raise typer.Exit(serve({"host": host, "port": port, "redis_url": redis_url, "data_dir": data_dir}))


if __name__ == "__main__":
    typer.run(main)
