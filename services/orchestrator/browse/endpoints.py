"""HTTP of browsing: records by page and by search, histograms, marks."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request

from platolm.browse_api import (
    DEFAULT_RECORDS,
    MAX_QUERY_CHARS,
    MAX_RECORDS,
    Histograms,
    MarkFilter,
    RecordPage,
)
from platolm.conversation import TerminationReason
from platolm.marks import Mark, MarkRequest, keep_mark
from services.orchestrator.browse.histograms import histograms
from services.orchestrator.browse.search import Search, Wanted
from services.orchestrator.conversations.dependencies import Conversation
from services.orchestrator.runs.dependencies import Run, Service
from services.orchestrator.web.refusals import NO_OUTPUT, NOT_FOUND

router = APIRouter(prefix="/v1", tags=["browsing"])

SEARCHES_AT_ONCE = 2
"""Of one process: each keeps a core busy while it looks."""

Cursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,10}$", description="`next_cursor` of the page before")]
Rounds = Annotated[int | None, Query(ge=0, le=10**6)]


def searching(request: Request) -> asyncio.Semaphore:
    turns: asyncio.Semaphore = request.app.state.searching
    return turns


Searching = Annotated[asyncio.Semaphore, Depends(searching)]


@router.get("/runs/{run_id}/records", responses={**NOT_FOUND, **NO_OUTPUT})
async def records(
    run: Run,
    service: Service,
    turns: Searching,
    q: Annotated[str | None, Query(min_length=1, max_length=MAX_QUERY_CHARS, description="in any utterance")] = None,
    ending: TerminationReason | None = None,
    min_rounds: Rounds = None,
    max_rounds: Rounds = None,
    mark: MarkFilter | None = None,
    start: Annotated[int, Query(ge=0, le=10**9, description="position to begin at")] = 0,
    cursor: Cursor = None,
    limit: Annotated[int, Query(ge=1, le=MAX_RECORDS)] = DEFAULT_RECORDS,
) -> RecordPage:
    """Records of the dataset in the order of commitment, those that are as asked for; `q` in any case of its letters.

    A request looks for a second and gives what it has: with a `next_cursor` there may be more, even behind an empty
    page.
    """
    wanted = Wanted(q, ending.value if ending else None, min_rounds or 0, max_rounds, mark)
    place = service.place(run)
    begin = int(cursor) if cursor is not None else start
    async with turns:
        return await asyncio.to_thread(lambda: Search(place, wanted).page(begin, limit))


@router.get("/runs/{run_id}/histograms", responses={**NOT_FOUND, **NO_OUTPUT})
async def get_histograms(run: Run, service: Service, turns: Searching) -> Histograms:
    """Rounds, lengths of utterances and endings of what is in the dataset."""
    place = service.place(run)
    async with turns:
        return await asyncio.to_thread(histograms, place)


@router.put("/conversations/{conversation_id}/mark", responses={**NOT_FOUND, **NO_OUTPUT})
async def mark_conversation(conversation: Conversation, wanted: MarkRequest) -> Mark:
    """Keep what a person thinks of a conversation, in place of what was kept before; nulls take it back."""
    return await asyncio.to_thread(keep_mark, conversation.place.place, conversation.index, wanted)
