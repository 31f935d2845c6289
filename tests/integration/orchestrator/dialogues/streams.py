"""Talks as a client sees them: the events of one request."""

from __future__ import annotations

from typing import Any

import httpx

from platolm.conversation import ASSISTANT, USER
from tests.integration.orchestrator.api.event_streams import read_events

Event = tuple[str, Any]


def user(content: str) -> dict[str, str]:
    return {"role": USER, "content": content}


def assistant(content: str) -> dict[str, str]:
    return {"role": ASSISTANT, "content": content}


async def converse(client: httpx.AsyncClient, *messages: dict[str, str], **fields: Any) -> list[Event]:
    """All events of a request for what follows the messages."""
    async with client.stream("POST", "/v1/dialogues", json={"messages": messages, **fields}) as response:
        if response.status_code != 200:
            await response.aread()
            raise AssertionError(response.text)
        return [event async for event in read_events(response)]


def turns(events: list[Event]) -> list[tuple[str, str]]:
    """Role and text of each whole utterance."""
    return [(data["role"], data["content"]) for name, data in events if name == "turn"]


def names(events: list[Event]) -> list[str]:
    """The events' names, tokens left out."""
    return [name for name, _ in events if name != "token"]
