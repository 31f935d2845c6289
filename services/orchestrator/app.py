"""The orchestrator's API; it also feeds the queue and writes the datasets.

python -m services.orchestrator.app [--help]
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import structlog
import typer
import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from redis.asyncio import Redis

from platolm import __version__
from platolm.errors import InputError, OutputError
from services.logs import configure_logs
from services.orchestrator.conversations.runner import REDIS_AWAY
from services.orchestrator.feeder import Feeder
from services.orchestrator.queue import Queue
from services.orchestrator.runs import endpoints
from services.orchestrator.runs.service import RunService
from services.orchestrator.settings import ApiSettings
from services.orchestrator.writer import Writer

logger = structlog.get_logger(__name__)

SHUTDOWN_S = 5.0
"""Time for feeder and writer to stop; both may be killed at any line."""


def create_app(settings: ApiSettings) -> FastAPI:
    """The API over one Redis and one data folder; feeder and writer live as long as it does."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with Redis.from_url(settings.redis_url, decode_responses=True, health_check_interval=30) as redis:
            queue = Queue(redis)
            writer = Writer(settings, queue)
            app.state.queue = queue
            app.state.writer = writer
            app.state.runs = RunService(settings, queue)
            tasks = [asyncio.create_task(writer.run()), asyncio.create_task(Feeder(settings, queue).run())]
            yield
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=SHUTDOWN_S)

    app = FastAPI(title="PlatoLM orchestrator", version=__version__, lifespan=lifespan)
    app.include_router(endpoints.router)
    _add_error_handlers(app)
    _add_health(app)
    return app


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(InputError)
    async def bad_input(_request: Request, error: InputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=422)

    @app.exception_handler(OutputError)
    async def no_output(_request: Request, error: OutputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=507)

    async def redis_away(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": f"Redis does not answer: {error}"}, 503, {"Retry-After": "1"})

    for kind in REDIS_AWAY:
        app.add_exception_handler(kind, redis_away)


def _add_health(app: FastAPI) -> None:
    @app.get("/healthz", tags=["health"])
    async def healthz() -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    @app.get("/readyz", tags=["health"])
    async def readyz(request: Request) -> JSONResponse:
        """Redis answers and the dataset can be written."""
        queue: Queue = request.app.state.queue
        writer: Writer = request.app.state.writer
        await queue.ping()
        if writer.problem is not None:
            return JSONResponse({"ready": False, "detail": writer.problem}, status_code=503)
        return JSONResponse({"ready": True})


def main(
    host: str = typer.Option(None, help="[env PLATOLM_API_HOST]"),
    port: int = typer.Option(None, help="[env PLATOLM_API_PORT]"),
    redis_url: str = typer.Option(None, help="[env PLATOLM_API_REDIS_URL]"),
    data_dir: Path = typer.Option(None, help="where runs and their datasets lie [env PLATOLM_API_DATA_DIR]"),
) -> None:
    """Serve the orchestrator's API, feed the queue and write the datasets.

    Every setting has an environment variable PLATOLM_API_*. The API is described at /docs.
    """
    given = {"host": host, "port": port, "redis_url": redis_url, "data_dir": data_dir}
    settings = ApiSettings(**{name: value for name, value in given.items() if value is not None})  # type: ignore[arg-type]
    configure_logs(settings.log_level, service="api")
    uvicorn.run(
        create_app(settings), host=settings.host, port=settings.port, log_config=None, timeout_graceful_shutdown=5
    )


if __name__ == "__main__":
    typer.run(main)
