"""HTTP of saved talks. One of them is read, marked and searched like a run's conversation, under the run id `talks`."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query

from platolm.browse_api import MarkFilter
from platolm.dialogues_api import DEFAULT_TALKS_PAGE, MAX_TALKS_PAGE, TALKS_RUN_ID, SavedTalk, TalkPage, TalkRequest
from platolm.errors import InputError
from platolm.runs import conversation_id
from platolm.runs_api import DatasetFormat
from services.orchestrator.dialogues.bounded import SmallBodyRoute
from services.orchestrator.runs.dataset_endpoints import DATASET, Streamed, dataset
from services.orchestrator.runs.dependencies import Service, existing_run
from services.orchestrator.web.problems import InvalidRequestError, Problem
from services.orchestrator.web.refusals import NO_OUTPUT

router = APIRouter(prefix="/v1/talks", tags=["talks"], route_class=SmallBodyRoute)


@router.post("", status_code=201, responses=NO_OUTPUT)
async def save_talk(talk: TalkRequest, service: Service) -> SavedTalk:
    """Put a talk into the dataset of saved talks. Saved again, it is there twice."""
    try:
        index = await asyncio.to_thread(service.talks.save, talk)
    except InputError as error:
        raise InvalidRequestError([Problem(loc=["body", "turns"], msg=str(error))]) from error
    return SavedTalk(id=conversation_id(TALKS_RUN_ID, index))


@router.get("", responses=NO_OUTPUT)
async def list_talks(
    service: Service,
    cursor: Annotated[int | None, Query(ge=1, le=10**9, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_TALKS_PAGE)] = DEFAULT_TALKS_PAGE,
) -> TalkPage:
    """The saved talks, newest first."""
    return await asyncio.to_thread(service.talks.page, before=cursor, limit=limit)


@router.get("/dataset", responses={**DATASET, **NO_OUTPUT}, response_class=Streamed)
async def talks_dataset(
    service: Service,
    form: Annotated[DatasetFormat, Query(alias="format")] = DatasetFormat.SHAREGPT,
    mark: Annotated[MarkFilter | None, Query(description="only talks that a person marked so")] = None,
) -> Streamed:
    """The saved talks in one file, the oldest first."""
    return await dataset(await existing_run(TALKS_RUN_ID, service), service, form, mark)
