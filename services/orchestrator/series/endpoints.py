"""HTTP of the last hour's samples."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from platolm.series_api import Series
from services.orchestrator.runs.dependencies import RUN_ID_PATTERN
from services.orchestrator.series.sampler import Sampler

router = APIRouter(prefix="/v1", tags=["series"])


@router.get("/series", response_model=Series)
async def get_series(
    request: Request,
    since: Annotated[
        float, Query(ge=0, allow_inf_nan=False, description="seconds since the epoch: `time` of the last sample known")
    ] = 0.0,
    run_id: Annotated[str | None, Query(pattern=RUN_ID_PATTERN, description="leave other runs out")] = None,
) -> Response:
    """How runs and engines did during the last hour, every two seconds, oldest first.

    Samples are made while the API and Redis are there, and kept in the API's memory: where either was away, some are
    missing. The same samples come live, as `sample` of the live events.
    """
    sampler: Sampler = request.app.state.series
    found = sampler.series(since=since, run_id=run_id)
    # Written as it is: checking what was just made would take longer than all the rest.
    return Response(found.model_dump_json(), media_type="application/json")
