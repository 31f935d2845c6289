"""HTTP of runs: submit, follow, steer."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Request, Response

from platolm.runs import RunProgress, RunState
from platolm.runs_api import DeadList, ResumeRequest, RetriedDead, RunList
from services.orchestrator.runs.dependencies import Run, Service
from services.orchestrator.runs.service import IdempotencyConflictError, NotApplicableError
from services.orchestrator.web.bodies import received
from services.orchestrator.web.refusals import CONFLICT, NO_OUTPUT, NOT_FOUND

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_JSON_TYPES = ("application/json", "+json")


@router.post(
    "",
    status_code=201,
    responses={
        200: {"model": RunProgress, "description": "The run that this Idempotency-Key made before"},
        **CONFLICT,
        **NO_OUTPUT,
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/RunRequest"}}},
        }
    },
)
async def submit(
    request: Request,
    service: Service,
    response: Response,
    idempotency_key: Annotated[
        str | None, Header(min_length=1, max_length=200, description="the same key and request give the same run")
    ] = None,
) -> RunProgress:
    """Start a run. With an `Idempotency-Key` a repeated request gives the same run (200) instead of another.

    The body may be gzip'd (`Content-Encoding: gzip`).
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not media_type.endswith(_JSON_TYPES):
        raise HTTPException(415, "send the run as application/json")
    try:
        async with received(request) as body:
            submitted = await service.submit(body, idempotency_key)
    except IdempotencyConflictError as error:
        raise HTTPException(409, str(error)) from error
    if not submitted.created:
        response.status_code = 200
    return submitted.progress


@router.get("")
async def list_runs(service: Service) -> RunList:
    """Every run, newest first."""
    return RunList(runs=await service.runs())


@router.get("/{run_id}", responses=NOT_FOUND)
async def get_run(run: Run) -> RunProgress:
    """A run's spec and how far it is."""
    return run


@router.post("/{run_id}/pause", responses={**NOT_FOUND, **CONFLICT})
async def pause(run: Run, service: Service) -> RunProgress:
    """Hand nothing more out; what is in flight is given back after its utterance."""
    try:
        return await service.pause(run.id)
    except NotApplicableError as error:
        raise HTTPException(409, str(error)) from error


@router.post("/{run_id}/resume", responses={**NOT_FOUND, **CONFLICT})
async def resume(run: Run, service: Service, change: ResumeRequest | None = None) -> RunProgress:
    """Go on with a paused run, whatever paused it; its limits count anew, but for the budget, which may be raised."""
    try:
        return await service.resume(run.id, change.budget if change is not None else None)
    except NotApplicableError as error:
        raise HTTPException(409, str(error)) from error


@router.post(
    "/{run_id}/cancel",
    responses={
        202: {"model": RunProgress, "description": "Finished ones are still written"},
        **NOT_FOUND,
        **CONFLICT,
    },
)
async def cancel(run: Run, service: Service, response: Response) -> RunProgress:
    """Give up what is not finished; what is finished stays in the dataset."""
    try:
        progress = await service.cancel(run.id)
    except NotApplicableError as error:
        raise HTTPException(409, str(error)) from error
    if progress.state is RunState.CANCELLING:
        response.status_code = 202
    return progress


@router.post("/{run_id}/retry-dead", responses={**NOT_FOUND, **CONFLICT})
async def retry_dead(run: Run, service: Service) -> RetriedDead:
    """Hand dead conversations out again, with what had been said in them; a completed run goes on."""
    try:
        retried, progress = await service.retry_dead(run.id)
    except NotApplicableError as error:
        raise HTTPException(409, str(error)) from error
    return RetriedDead(retried=retried, run=progress)


@router.get("/{run_id}/dead", responses=NOT_FOUND)
async def dead(run: Run, service: Service) -> DeadList:
    """Conversations that failed for good, with their errors."""
    return DeadList(dead=await service.queue.dead_conversations(run.id))
