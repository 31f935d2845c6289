"""HTTP of conversations: a run's list of them, and one with all that was said."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from platolm.runs_api import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    ConversationDetail,
    ConversationPage,
    ConversationState,
)
from services.orchestrator.conversations.dependencies import Conversation
from services.orchestrator.conversations.listing import Cursor, CursorError, Listing
from services.orchestrator.runs.dependencies import Run, Service
from services.orchestrator.web.problems import InvalidRequestError, Problem
from services.orchestrator.web.refusals import NO_OUTPUT, NOT_FOUND

router = APIRouter(prefix="/v1", tags=["conversations"])


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
async def get_conversation(conversation: Conversation) -> ConversationDetail:
    """One conversation: its turns so far, and its record once it is finished."""
    return conversation.detail
