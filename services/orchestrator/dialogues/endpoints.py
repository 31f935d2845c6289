"""HTTP of talks that go on: who can speak, and utterances as they are made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import structlog
from fastapi import APIRouter, Depends, Request
from sse_starlette import EventSourceResponse

from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import DIALOGUE_EVENTS, DialogueEvent, DialogueFailed, DialogueRequest, Speakers
from services.orchestrator.dialogues.bounded import Dialogues, SmallBodyRoute
from services.orchestrator.dialogues.dialogue import Dialogue
from services.orchestrator.web.refusals import Answers

router = APIRouter(prefix="/v1/dialogues", tags=["dialogues"], route_class=SmallBodyRoute)
logger = structlog.get_logger(__name__)

_EVENT = {
    "type": "object",
    "properties": {
        "event": {"enum": list(DIALOGUE_EVENTS)},
        "data": {"type": "string", "contentMediaType": "application/json"},
    },
    "required": ["event", "data"],
}
_STREAM: Answers = {200: {"content": {"text/event-stream": {"schema": _EVENT}}}}
_PING_S = 15
_SEND_TIMEOUT_S = 60.0
"""A client that takes nothing for so long is gone."""


async def all_dialogues(request: Request) -> Dialogues:
    dialogues: Dialogues = request.app.state.dialogues
    return dialogues


AllDialogues = Annotated[Dialogues, Depends(all_dialogues)]


async def a_place(dialogues: AllDialogues) -> AsyncIterator[Dialogues]:
    """Holds a talk's place until its answer is sent, or its client is gone."""
    with dialogues.place():
        yield dialogues


@router.get("/speakers")
async def speakers(dialogues: AllDialogues) -> Speakers:
    """Which model speaks on each side, and whether it can be asked now."""
    simulator, respondent = await asyncio.gather(*(dialogues.gateways[role].state() for role in (USER, ASSISTANT)))
    return Speakers(simulator=simulator, respondent=respondent)


@router.post("", responses=_STREAM, response_class=EventSourceResponse)
async def converse(asked: DialogueRequest, dialogues: Annotated[Dialogues, Depends(a_place)]) -> EventSourceResponse:
    """Have the models speak from what was said so far; server-sent events as they do. Nothing of it is kept here.

    `utterance` begins one, `token` adds to it, `turn` has all of it. The stream closes with `ended` (a rule ended the
    talk), `done` (it may go on) or `error`; one that closes otherwise was lost. Who leaves it stops the model.
    """
    written = _written(Dialogue(asked, dialogues.gateways).events())
    return EventSourceResponse(written, ping=_PING_S, sep="\n", send_timeout=_SEND_TIMEOUT_S)


async def _written(events: AsyncGenerator[DialogueEvent, None]) -> AsyncGenerator[bytes, None]:
    """Events as they go over the wire; what nobody foresaw ends here, with a last event."""
    try:
        async with aclosing(events):
            async for event in events:
                yield _server_sent(event)
    except Exception:
        logger.exception("dialogue_failed")
        yield _server_sent(DialogueFailed(detail="the server failed: its log says how"))


def _server_sent(event: DialogueEvent) -> bytes:
    return f"event: {event.event}\ndata: {event.model_dump_json()}\n\n".encode()
