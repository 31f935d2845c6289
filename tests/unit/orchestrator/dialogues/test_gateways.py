"""What a model server's stream says of an utterance."""

from __future__ import annotations

from typing import Any, cast

import aiohttp
import pytest

from platolm.simulators.cleaning import End
from services.orchestrator.dialogues.gateways import GatewayClient


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ({}, None),
        ({"platolm": None}, None),
        ({"platolm": {"ended": False, "why": None, "faults": {}}}, None),
        ({"platolm": {"ended": True, "why": "goodbye", "faults": {}}}, End.MARKER),
        ({"platolm": {"ended": True, "why": "blank", "faults": {}}}, End.BLANK),
        ({"platolm": {"ended": True, "why": "context_full", "faults": {}}}, None),
    ],
)
def test_a_simulators_goodbye_is_heard(told: dict[str, Any], end: End | None) -> None:
    client = GatewayClient(cast("aiohttp.ClientSession", None), "simulator", "http://10.0.0.1/v1")
    choice = {"delta": {"content": "Bye."}, "finish_reason": "stop", **told}
    assert client._piece({"choices": [choice], "model": "m"}).end is end


@pytest.mark.parametrize(
    ("told", "profile"), [({}, None), ({"profile": "userlm"}, "userlm"), ({"profile": "a newer one"}, None)]
)
def test_how_it_was_prompted_is_heard(told: dict[str, Any], profile: str | None) -> None:
    client = GatewayClient(cast("aiohttp.ClientSession", None), "simulator", "http://10.0.0.1/v1")
    choice = {"delta": {"content": "", **told}, "finish_reason": None}
    assert client._piece({"choices": [choice], "model": "m"}).profile == profile
