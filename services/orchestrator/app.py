"""The orchestrator's API: HTTP only; the dataset writer and the workers are processes of their own.

python -m services.orchestrator.app [--help]
"""

from __future__ import annotations

import asyncio
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
from platolm.errors import SpecError
from services.gateway.errors import MISUSE, StartError
from services.logs import configure_logs
from services.orchestrator import crash_points
from services.orchestrator.browse import endpoints as browse_endpoints
from services.orchestrator.conversations import endpoints as conversation_endpoints
from services.orchestrator.dashboard.login import Door
from services.orchestrator.dashboard.pages import is_page
from services.orchestrator.dashboard.security import SecurityHeaders
from services.orchestrator.dashboard.wiring import add_dashboard
from services.orchestrator.dialogues import endpoints as dialogue_endpoints
from services.orchestrator.dialogues import talk_endpoints
from services.orchestrator.dialogues.bounded import open_dialogues
from services.orchestrator.live import endpoints as live_endpoints
from services.orchestrator.live.events import LiveEvents
from services.orchestrator.metrics import api as metrics_endpoints
from services.orchestrator.metrics.api import ApiMetrics
from services.orchestrator.metrics.http import CountRequests
from services.orchestrator.queue import Queue, check_redis, open_redis
from services.orchestrator.rendering import endpoints as rendering_endpoints
from services.orchestrator.rendering.apart import Renderer
from services.orchestrator.runs import dataset_endpoints, profile_endpoints
from services.orchestrator.runs import endpoints as run_endpoints
from services.orchestrator.runs.chat_costs import read_chat_prices
from services.orchestrator.runs.service import RunService
from services.orchestrator.series import endpoints as series_endpoints
from services.orchestrator.series.sampler import Sampler
from services.orchestrator.settings import ApiSettings
from services.orchestrator.web.auth import BearerAuth, check_host
from services.orchestrator.web.bodies import MIB, BodyLimit
from services.orchestrator.web.description import describe
from services.orchestrator.web.refusals import COMMON, add_error_handlers

API_PARTS = (
    run_endpoints,
    profile_endpoints,
    dataset_endpoints,
    conversation_endpoints,
    browse_endpoints,
    live_endpoints,
    dialogue_endpoints,
    talk_endpoints,
    rendering_endpoints,
    series_endpoints,
    metrics_endpoints,
)
"""Modules whose `router` makes up the API."""

SHUTDOWN_S = 5
"""Time for answers that are on their way; live events end at once."""


class Health(BaseModel):
    status: str


def create_app(settings: ApiSettings) -> FastAPI:
    """The API over one Redis and the places of the datasets."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_redis(settings) as redis:
            queue = Queue(redis)
            app.state.queue = queue
            app.state.metrics.watch(redis, queue)
            app.state.runs = RunService(settings, queue)
            app.state.live = LiveEvents(queue)
            app.state.renderer = Renderer()
            async with (
                Sampler(redis, queue.key, app.state.live.publish_sample) as app.state.series,
                open_dialogues(settings) as app.state.dialogues,
            ):
                yield
            await app.state.renderer.close()
            await app.state.live.close()
            await queue.close()

    app = FastAPI(
        title="PlatoLM orchestrator",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=COMMON,
        separate_input_output_schemas=False,
    )
    app.state.metrics = ApiMetrics()
    app.state.searching = asyncio.Semaphore(browse_endpoints.SEARCHES_AT_ONCE)
    app.state.door = Door(settings.api_keys)
    app.add_middleware(BodyLimit, max_bytes=settings.max_request_mib * MIB)
    app.add_middleware(BearerAuth, keys=settings.api_keys, sessions=app.state.door.sessions, is_page=is_page)
    app.add_middleware(CountRequests, metrics=app.state.metrics.http)
    app.add_middleware(SecurityHeaders)
    for module in API_PARTS:
        app.include_router(module.router)
    add_dashboard(app, needs_key=settings.api_keys is not None)
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
        read_chat_prices(settings.chat_apis_file, settings.prices_file)
        crash_points.arm(settings.crash_at)
        check_redis(settings)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"])
            print(f"error: PLATOLM_API_{name.upper()}: {problem['msg'].removeprefix('Value error, ')}", file=sys.stderr)
        return MISUSE
    except SpecError as error:
        for wrong in error.problems:
            print(f"error: {error.source}: {wrong}", file=sys.stderr)
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
        forwarded_allow_ips=settings.trusted_proxies,
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

    The dashboard is at /, the API is described at /docs. Every setting has an environment variable PLATOLM_API_*.
    """
    raise typer.Exit(serve({"host": host, "port": port, "redis_url": redis_url, "data_dir": data_dir}))


if __name__ == "__main__":
    typer.run(main)
