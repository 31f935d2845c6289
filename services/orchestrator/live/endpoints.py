"""HTTP of what happens now: server-sent events of all runs, of one run, of one conversation."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from sse_starlette import EventSourceResponse

from services.orchestrator.conversations.dependencies import Conversation
from services.orchestrator.live.events import LiveEvents
from services.orchestrator.runs.dependencies import RUN_ID_PATTERN, Run, Service, existing_run
from services.orchestrator.web.refusals import NO_OUTPUT, NOT_FOUND, Answers

router = APIRouter(prefix="/v1", tags=["live"])

PING_EVERY_S = 15
SEND_TIMEOUT_S = 60.0
"""A client that takes nothing for so long is gone."""


def _live(request: Request) -> LiveEvents:
    live: LiveEvents = request.app.state.live
    return live


Live = Annotated[LiveEvents, Depends(_live)]


def _streams(*events: str) -> Answers:
    """The description of a stream of these events."""
    properties = {
        "event": {"enum": list(events)},
        "data": {"type": "string", "contentMediaType": "application/json"},
    }
    schema = {"type": "object", "properties": properties, "required": ["event", "data"]}
    return {200: {"content": {"text/event-stream": {"schema": schema}}}}


def _stream(pieces: AsyncGenerator[bytes, None]) -> EventSourceResponse:
    return EventSourceResponse(pieces, ping=PING_EVERY_S, sep="\n", send_timeout=SEND_TIMEOUT_S)


@router.get(
    "/live",
    responses={**_streams("runs", "turn", "ended", "sample", "dropped"), **NOT_FOUND},
    response_class=EventSourceResponse,
)
async def live_wall(
    live: Live,
    service: Service,
    run_id: Annotated[str | None, Query(pattern=RUN_ID_PATTERN, description="of this run only")] = None,
    turns: Annotated[bool, Query(description="false: neither `turn` nor `ended`")] = True,
) -> EventSourceResponse:
    """Server-sent events of every run that is not over: `runs` at once and then once a second, `turn` and `ended` as
    they happen, `sample` as the API measures.

    It does not end by itself. `dropped` says how many events a listener lost because it was too slow.
    """
    if run_id is not None:
        await existing_run(run_id, service)
    else:
        await service.queue.ping()
    return _stream(live.wall(run_id, turns=turns))


@router.get(
    "/runs/{run_id}/events",
    responses={**_streams("turn", "ended", "progress", "dropped"), **NOT_FOUND},
    response_class=EventSourceResponse,
)
async def run_events(run: Run, live: Live) -> EventSourceResponse:
    """Server-sent events: `turn` as utterances complete, `ended` as conversations do, `progress` once a second; ends
    with the run.

    `dropped` says how many events a listener lost because it was slower than the run. Events have no ids and are not
    repeated: what was missed is in the conversations.
    """
    return _stream(live.run(run.id))


@router.get(
    "/conversations/{conversation_id}/events",
    responses={**_streams("conversation", "partial", "turn", "ended", "dropped"), **NOT_FOUND, **NO_OUTPUT},
    response_class=EventSourceResponse,
)
async def conversation_events(conversation: Conversation, live: Live) -> EventSourceResponse:
    """Server-sent events of one conversation: `conversation` with what was said so far, then, until it is over,
    `partial` with the whole of the utterance in the making, `turn`, `ended`, and at last `conversation` again.

    While somebody listens, its utterances are streamed from the engines, from the next one on that begins.
    """
    return _stream(live.conversation(conversation.place, conversation.run.id, conversation.index))
