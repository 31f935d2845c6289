"""HTTP of runs: submit, follow, fetch the dataset."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse
from sse_starlette import EventSourceResponse

from platolm.conversation import from_sharegpt, to_openai
from platolm.dataset import SEGMENT_SUFFIX, read_manifest, read_records, segment_path
from platolm.runs import RunProgress, RunRequest
from services.orchestrator.conversations.events import run_events
from services.orchestrator.runs.schemas import DeadList, Manifest, RunList
from services.orchestrator.runs.service import IdempotencyConflictError, RunService

router = APIRouter(prefix="/v1/runs", tags=["runs"])

_SEGMENT_NAME = re.compile(r"[0-9a-f]{32}" + re.escape(SEGMENT_SUFFIX))


def run_service(request: Request) -> RunService:
    service: RunService = request.app.state.runs
    return service


Service = Annotated[RunService, Depends(run_service)]


async def existing_run(run_id: str, service: Service) -> RunProgress:
    progress = await service.progress(run_id)
    if progress is None:
        raise HTTPException(404, f"no run {run_id}")
    return progress


Run = Annotated[RunProgress, Depends(existing_run)]


@router.post("", status_code=201)
async def submit(
    body: RunRequest,
    service: Service,
    response: Response,
    idempotency_key: Annotated[str | None, Header(max_length=200)] = None,
) -> RunProgress:
    """Start a run. With an `Idempotency-Key` a repeated request gives the same run (200) instead of another."""
    try:
        submitted = await service.submit(body, idempotency_key)
    except IdempotencyConflictError as error:
        raise HTTPException(409, str(error)) from error
    if not submitted.created:
        response.status_code = 200
    return submitted.progress


@router.get("")
async def list_runs(service: Service) -> RunList:
    """Every run, newest first."""
    return RunList(runs=await service.list())


@router.get("/{run_id}")
async def get_run(run: Run) -> RunProgress:
    """A run's spec and how far it is."""
    return run


@router.get("/{run_id}/events")
async def events(run: Run, service: Service) -> EventSourceResponse:
    """Server-sent events: `turn` as utterances complete, `progress` once a second; ends with the run."""
    return EventSourceResponse(run_events(service.queue, run.id), ping=15)


@router.get("/{run_id}/dead")
async def dead(run: Run, service: Service) -> DeadList:
    """Conversations that failed for good, with their errors."""
    return DeadList(dead=await service.queue.dead_conversations(run.id))


@router.get("/{run_id}/manifest")
async def manifest(run: Run, service: Service, after: Annotated[int, Query(ge=0)] = 0) -> Manifest:
    """Committed segments numbered above `after`."""
    return Manifest(entries=await asyncio.to_thread(read_manifest, service.folder(run.id).path, after=after))


@router.get("/{run_id}/segments/{name}")
async def segment(run: Run, service: Service, name: str) -> FileResponse:
    """A segment's bytes: JSON lines in zstd."""
    path = segment_path(service.folder(run.id).path, name)
    if not _SEGMENT_NAME.fullmatch(name) or not path.is_file():
        raise HTTPException(404, f"run {run.id} has no segment {name}")
    return FileResponse(path, media_type="application/zstd")


@router.get("/{run_id}/dataset")
async def dataset(
    run: Run, service: Service, format: Annotated[Literal["sharegpt", "openai"], Query()] = "sharegpt"
) -> StreamingResponse:
    """What is committed so far, as JSON lines, in the order of commitment."""
    lines = _dataset_lines(service.folder(run.id).path, format)
    return StreamingResponse(lines, media_type="application/jsonl")


def _dataset_lines(folder: Path, form: str) -> Iterator[str]:
    for record in read_records(folder):
        if form == "openai":
            messages = to_openai(from_sharegpt(record).messages)
            yield json.dumps({"id": record["id"], "messages": messages}, ensure_ascii=False) + "\n"
        else:
            yield json.dumps(record, ensure_ascii=False) + "\n"
