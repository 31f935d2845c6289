"""What endpoints are given: the service, and a run that exists."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, HTTPException, Path, Request

from platolm.runs import RunProgress
from services.orchestrator.runs.service import RunService

RUN_ID_PATTERN = r"^[a-z0-9][a-z0-9-]{2,63}$"


def run_service(request: Request) -> RunService:
    service: RunService = request.app.state.runs
    return service


Service = Annotated[RunService, Depends(run_service)]
RunIdParameter = Annotated[str, Path(pattern=RUN_ID_PATTERN)]


async def existing_run(run_id: RunIdParameter, service: Service) -> RunProgress:
    progress = await service.find(run_id)
    if progress is None:
        raise HTTPException(404, f"no run {run_id}")
    return progress


Run = Annotated[RunProgress, Depends(existing_run)]
