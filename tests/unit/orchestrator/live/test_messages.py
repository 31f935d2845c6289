from __future__ import annotations

import json

import pytest
from pydantic import BaseModel

from platolm.conversation import TerminationReason
from platolm.live_api import EndedEvent, LiveTurn, PartialEvent
from services.orchestrator.live.messages import RunMessage, partial_event, partial_message


def parsed(event: bytes, model: type[BaseModel]) -> tuple[str, BaseModel]:
    """The event's name and content; it has one line of each."""
    name, data, *rest = event.decode().split("\n")
    assert (name.partition(": ")[0], data.partition(": ")[0], rest) == ("event", "data", ["", ""])
    return name.removeprefix("event: "), model.model_validate_json(data.removeprefix("data: "))


def test_a_turn_of_the_channel_becomes_an_event() -> None:
    recorded = {"role": "user", "content": "Say: 1 2\n\ndata: x", "token_ids": [1], "at": 1.0}
    message = RunMessage("run-a", "17 3 " + json.dumps(recorded))
    assert (message.index, message.is_ending, message.turn_index) == (17, False, 3)
    assert json.loads(message.turn) == recorded
    turn = LiveTurn(
        run_id="run-a", conversation_id="run-a-00000017", index=17, turn_index=3, role="user",
        content="Say: 1 2\n\ndata: x",
    )  # fmt: skip
    assert parsed(message.event, LiveTurn) == ("turn", turn)


@pytest.mark.parametrize("reason", TerminationReason)
def test_an_ending_of_the_channel_becomes_an_event(reason: TerminationReason) -> None:
    message = RunMessage("run-a", f"4 ended {reason}")
    assert (message.index, message.is_ending) == (4, True)
    ended = EndedEvent(run_id="run-a", conversation_id="run-a-00000004", index=4, termination_reason=reason)
    assert parsed(message.event, EndedEvent) == ("ended", ended)


def test_an_event_is_made_once() -> None:
    message = RunMessage("run-a", "4 ended turn_limit")
    assert message.event is message.event


@pytest.mark.parametrize("text", ["", "a line\nanother, é", '"}\n\ndata: {"', "5 6"])
def test_a_partial_goes_through_the_channel(text: str) -> None:
    turn_index, event = partial_event(partial_message(12, "assistant", text))
    assert turn_index == 12
    assert parsed(event, PartialEvent) == ("partial", PartialEvent(turn_index=12, role="assistant", text=text))
