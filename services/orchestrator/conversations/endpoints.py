"""HTTP of conversations: a run's list of them, one with all that was said, and what happens live."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Path, Query, Request
from sse_starlette import EventSourceResponse

from platolm.runs import conversation_id, split_conversation_id
from platolm.runs_api import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    ConversationDetail,
    ConversationPage,
    ConversationState,
)
from services.orchestrator.conversations.detail import conversation_detail
from services.orchestrator.conversations.events import LiveEvents
from services.orchestrator.conversations.listing import Cursor, CursorError, Listing
from services.orchestrator.runs.dependencies import Run, Service, existing_run
from services.orchestrator.web.problems import InvalidRequestError, Problem
from services.orchestrator.web.refusals import NO_OUTPUT, NOT_FOUND, Answers

router = APIRouter(prefix="/v1", tags=["conversations"])

_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": ["turn", "progress", "dropped"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_EVENT_STREAM: Answers = {200: {"content": {"text/event-stream": {"schema": _EVENT}}}}
_SEND_TIMEOUT_S = 60.0
"""A client that takes nothing for so long is gone."""


@router.get("/runs/{run_id}/conversations", responses={**NOT_FOUND, **NO_OUTPUT})
async def list_conversations(
    run: Run,
    service: Service,
    state: ConversationState | None = None,
    cursor: Annotated[str | None, Query(max_length=500, description="`next_cursor` of the page before")] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_PAGE_SIZE)] = DEFAULT_PAGE_SIZE,
) -> ConversationPage:
    """A run's conversations, those that were fed to the queue so far. While the run goes on one may come twice."""
    try:
        at = Cursor.decoded(cursor) if cursor is not None else None
        return await Listing(service.queue, service.place(run), run).page(state, at, limit)
    except CursorError as error:
        raise InvalidRequestError([Problem(loc=["query", "cursor"], msg=str(error))]) from error


@router.get("/conversations/{conversation_id}", responses={**NOT_FOUND, **NO_OUTPUT})
async def get_conversation(
    conversation: Annotated[str, Path(alias="conversation_id", pattern=r"^[a-z0-9][a-z0-9-]{2,63}-[0-9]{8,9}$")],
    service: Service,
) -> ConversationDetail:
    """One conversation: its turns so far, and its record once it is finished."""
    parts = split_conversation_id(conversation)
    if parts is not None and conversation_id(*parts) == conversation:
        run = await existing_run(parts[0], service)
        found = await conversation_detail(service.queue, service.place(run), run, parts[1])
        if found is not None:
            return found
    raise HTTPException(404, f"no conversation {conversation}")


@router.get("/runs/{run_id}/events", responses={**_EVENT_STREAM, **NOT_FOUND}, response_class=EventSourceResponse)
async def events(run: Run, request: Request) -> EventSourceResponse:
    """Server-sent events: `turn` as utterances complete, `progress` once a second; ends with the run.

    `dropped` says how many turns a listener lost because it was slower than the run. Events have no ids and are not
    repeated: what was missed is in the conversations.
    """
    live: LiveEvents = request.app.state.live
    return EventSourceResponse(live.events(run.id), ping=15, sep="\n", send_timeout=_SEND_TIMEOUT_S)
