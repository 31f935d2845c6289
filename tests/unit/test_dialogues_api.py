"""Whose turn a request for a talk is."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import DIALOGUE_EVENTS, LAST_EVENTS, DialogueRequest, DialogueSide
from platolm.sampling import Sampling


def request(*roles: str, **fields: Any) -> DialogueRequest:
    return DialogueRequest.model_validate({"messages": [{"role": role, "content": "x"} for role in roles], **fields})


@pytest.mark.parametrize(
    ("roles", "first"),
    [((), USER), ((USER,), ASSISTANT), ((ASSISTANT,), USER), ((USER, USER), ASSISTANT), ((USER, ASSISTANT), USER)],
)
def test_the_first_speaker(roles: tuple[str, ...], first: str) -> None:
    assert request(*roles).first_speaker == first
    assert request(*roles, speaker=first).first_speaker == first
    with pytest.raises(ValidationError, match="leave speaker out"):
        request(*roles, speaker=USER if first == ASSISTANT else ASSISTANT)


def test_a_turn_as_it_was_streamed_is_a_message() -> None:
    message = {"turn_index": 0, "role": USER, "content": "x", "num_tokens": 3, "model": "m"}
    assert DialogueRequest.model_validate({"messages": [message]}) == request(USER)


def test_a_side_is_a_runs_sampling_and_a_system_prompt() -> None:
    assert DialogueSide(system_prompt="x", top_k=3).sampling == Sampling(top_k=3)


def test_events_have_names_of_their_own() -> None:
    assert list(DIALOGUE_EVENTS) == ["utterance", "token", "again", "turn", "ended", "done", "error"]
    assert [kind.event for kind in LAST_EVENTS] == ["ended", "done", "error"]
