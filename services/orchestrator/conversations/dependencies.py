"""What endpoints of one conversation are given: the conversation, where there is one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Path

from platolm.runs import RunProgress, conversation_id, split_conversation_id
from platolm.runs_api import ConversationDetail
from services.orchestrator.conversations.detail import conversation_detail
from services.orchestrator.datasets.run_place import RunPlace
from services.orchestrator.runs.dependencies import Service, existing_run

ConversationId = Annotated[str, Path(alias="conversation_id", pattern=r"^[a-z0-9][a-z0-9-]{2,63}-[0-9]{8,9}$")]


@dataclass(frozen=True)
class FoundConversation:
    """A conversation with its run, and where the run's dataset lies."""

    run: RunProgress
    place: RunPlace
    index: int
    detail: ConversationDetail


async def existing_conversation(conversation: ConversationId, service: Service) -> FoundConversation:
    """The conversation of this id, or 404."""
    parts = split_conversation_id(conversation)
    if parts is not None and conversation_id(*parts) == conversation:
        run = await existing_run(parts[0], service)
        place = service.place(run)
        found = await conversation_detail(service.queue, place, run, parts[1])
        if found is not None:
            return FoundConversation(run, place, parts[1], found)
    raise HTTPException(404, f"no conversation {conversation}")


Conversation = Annotated[FoundConversation, Depends(existing_conversation)]
