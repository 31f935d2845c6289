"""What the API answers when it refuses: typed bodies for its description, and the handlers that make them."""

from __future__ import annotations

from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from platolm.errors import OutputError
from services.orchestrator.queue import REDIS_AWAY
from services.orchestrator.queue.outages import refusal_of
from services.orchestrator.web.problems import MAX_PROBLEMS, InvalidRequestError, Problem, problems_of

Answers = dict[int | str, dict[str, Any]]
"""Answers of an operation besides its usual one, by status, as FastAPI takes them."""

logger = structlog.get_logger(__name__)


class Refusal(BaseModel):
    """Why a request was refused, in one line."""

    detail: str


class InvalidRequest(BaseModel):
    """Everything that is wrong with a request, the first hundred of it."""

    detail: list[Problem] = Field(max_length=MAX_PROBLEMS)


COMMON: Answers = {
    400: {"model": Refusal, "description": "The body cannot be unpacked"},
    401: {"model": Refusal, "description": "No key, or a wrong one"},
    413: {"model": Refusal, "description": "The body is too large"},
    415: {"model": Refusal, "description": "The body is of another type or encoding"},
    422: {"model": InvalidRequest, "description": "The request is wrong"},
    503: {
        "model": Refusal,
        "description": "Redis is away, or takes no writes; ask again after Retry-After seconds",
    },
}
"""Answers that every operation may give."""

NOT_FOUND: Answers = {404: {"model": Refusal, "description": "There is no such thing"}}
CONFLICT: Answers = {409: {"model": Refusal, "description": "It does not apply now"}}
NO_OUTPUT: Answers = {507: {"model": Refusal, "description": "The dataset's place cannot be used"}}


def add_error_handlers(app: FastAPI) -> None:
    """Answer the errors that endpoints raise."""

    @app.exception_handler(RequestValidationError)
    async def invalid(_request: Request, error: RequestValidationError) -> JSONResponse:
        return _invalid(problems_of(error.errors()))

    @app.exception_handler(InvalidRequestError)
    async def wrong(_request: Request, error: InvalidRequestError) -> JSONResponse:
        return _invalid(error.problems[:MAX_PROBLEMS])

    @app.exception_handler(OutputError)
    async def no_output(_request: Request, error: OutputError) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status_code=507)

    @app.exception_handler(ClientDisconnect)
    async def gone(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=400)

    async def redis_away(_request: Request, error: Exception) -> JSONResponse:
        refusal = refusal_of(error)
        said = f"Redis does not answer: {error}" if refusal is None else str(refusal)
        logger.warning("redis_away", error=said)
        return JSONResponse({"detail": said}, 503, {"Retry-After": "1"})

    for kind in REDIS_AWAY:
        app.add_exception_handler(kind, redis_away)


def _invalid(problems: list[Problem]) -> JSONResponse:
    return JSONResponse(InvalidRequest(detail=problems).model_dump(mode="json"), status_code=422)
