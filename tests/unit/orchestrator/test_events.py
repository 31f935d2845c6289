from __future__ import annotations

import asyncio
import json

import pytest

from platolm.runs import TurnEvent
from services.orchestrator.conversations import events
from services.orchestrator.conversations.events import MAX_WAITING_TURNS, Listener, turn_event


async def pieces(listener: Listener) -> list[bytes]:
    return [piece async for piece in listener.writes()]


def turn(number: int) -> bytes:
    return f"event: turn\ndata: {number}\n\n".encode()


def test_a_message_of_the_channel_becomes_an_event() -> None:
    recorded = {"role": "user", "content": "Say: 1 2\n\ndata: x", "token_ids": [1], "at": 1.0}
    text = turn_event("run-a", "17 3 " + json.dumps(recorded)).decode()
    assert text.count("\n") == 3
    name, data, *rest = text.split("\n")
    assert (name, rest) == ("event: turn", ["", ""])
    assert TurnEvent.model_validate_json(data.removeprefix("data: ")) == TurnEvent(
        conversation_id="run-a-00000017", index=17, turn_index=3, role="user", content="Say: 1 2\n\ndata: x"
    )


async def test_what_came_together_is_written_together_and_in_order() -> None:
    listener = Listener()
    for number in range(100):
        listener.turn(turn(number))
    listener.progress(b"progress\n\n")
    listener.end()
    assert await pieces(listener) == [b"".join(map(turn, range(100))) + b"progress\n\n"]


async def test_a_slow_listener_loses_the_oldest_and_is_told() -> None:
    listener = Listener()
    for number in range(MAX_WAITING_TURNS + 7):
        listener.turn(turn(number))
    listener.end()
    written = b"".join(await pieces(listener))
    kept = b"".join(map(turn, range(7, MAX_WAITING_TURNS + 7)))
    assert written == b'event: dropped\ndata: {"turns":7}\n\n' + kept


async def test_a_progress_that_was_not_taken_is_replaced() -> None:
    listener = Listener()
    listener.progress(b"old\n\n")
    listener.progress(b"new\n\n")
    listener.end()
    assert await pieces(listener) == [b"new\n\n"]


async def test_a_write_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "_LARGEST_WRITE", 10)
    listener = Listener()
    for number in range(25):
        listener.turn(turn(number))
    listener.progress(b"progress\n\n")
    listener.end()
    written = await pieces(listener)
    assert [piece.count(b"event: turn") for piece in written] == [10, 10, 5]
    assert written[-1].endswith(b"progress\n\n")


async def test_a_listener_waits_for_news() -> None:
    listener = Listener()
    writes = listener.writes()
    first = asyncio.ensure_future(anext(writes))
    done, _ = await asyncio.wait({first}, timeout=0.2)
    assert done == set()
    listener.turn(turn(1))
    assert await asyncio.wait_for(first, 1) == turn(1)
    listener.end()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(writes), 1)
