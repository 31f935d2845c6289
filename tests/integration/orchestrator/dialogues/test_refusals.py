"""What goes wrong: requests that make no sense, and model servers that fail."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from platolm.dialogues_api import MAX_MESSAGES
from tests.fakes.gateway import GatewayFault
from tests.integration.orchestrator.dialogues.conftest import Stage
from tests.integration.orchestrator.dialogues.streams import assistant, converse, names, turns, user

FAILED = {
    GatewayFault.NOT_READY: (True, "answered 503: this server is not ready: the engine is starting"),
    GatewayFault.ERROR_EVENT: (True, "failed: the engine broke off its answer"),
    GatewayFault.ABORTED: (True, "broke off in the middle of its answer: try again"),
    GatewayFault.CUT: (True, "broke off in the middle of its answer: try again"),
    GatewayFault.NOT_JSON: (
        False,
        "does not answer as a model server: start it (platolm up), or set PLATOLM_API_RESPONDENT_URL",
    ),
}


@pytest.mark.parametrize("fault", FAILED)
async def test_a_model_server_that_fails(client: httpx.AsyncClient, stage: Stage, fault: GatewayFault) -> None:
    stage.respondent.faults.append(fault)
    events = await converse(client, user("Hi?"), num_turns=3)
    retryable, said = FAILED[fault]
    assert names(events) == ["utterance", "error"]
    assert events[-1][1] == {"detail": f"the respondent at {stage.respondent.url} {said}", "retryable": retryable}
    assert names(await converse(client, user("Hi?"))) == ["utterance", "turn", "done"]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (GatewayFault.NO_END, "the assistant's utterance came to no end: try again"),
        (GatewayFault.NO_IDS, "what answers as the assistant gives no token ids: it must be a model server of ours"),
    ],
)
async def test_a_stream_that_is_no_utterance(
    client: httpx.AsyncClient, stage: Stage, fault: GatewayFault, said: str
) -> None:
    stage.respondent.faults.append(fault)
    events = await converse(client, user("Hi?"))
    assert (names(events), events[-1][1]["detail"]) == (["utterance", "error"], said)


async def test_turns_before_a_failure_stand(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script.append("Yes.")
    stage.simulator.faults.append(GatewayFault.CUT)
    events = await converse(client, user("Hi?"), num_turns=3)
    assert names(events) == ["utterance", "turn", "utterance", "error"]
    assert turns(events) == [("assistant", "Yes.")]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        ({"messages": [user("Hi?")], "speaker": "user"}, ["body"]),
        ({"messages": [assistant("Hi.")], "speaker": "assistant"}, ["body"]),
        ({"messages": [], "speaker": "assistant"}, ["body"]),
        ({"messages": [user("a")] * (MAX_MESSAGES + 1)}, ["body", "messages"]),
        ({"messages": [{"role": "system", "content": "a"}]}, ["body", "messages", 0, "role"]),
        ({"messages": [{"role": "user"}]}, ["body", "messages", 0, "content"]),
        ({"num_turns": 0}, ["body", "num_turns"]),
        ({"num_turns": 101}, ["body", "num_turns"]),
        ({"seed": -1}, ["body", "seed"]),
        ({"session_id": "a\r\nHost: b"}, ["body", "session_id"]),
        ({"simulator": {"temperature": 3}}, ["body", "simulator", "temperature"]),
        ({"respondent": {"max_token": 3}}, ["body", "respondent", "max_token"]),
        ({"endings": {"max_turns": 1}}, ["body", "endings", "max_turns"]),
        ({"message": []}, ["body", "message"]),
    ],
)
async def test_requests_that_are_wrong(
    client: httpx.AsyncClient, stage: Stage, body: dict[str, Any], where: list[str | int]
) -> None:
    response = await client.post("/v1/dialogues", json=body)
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert problem["loc"] == where
    assert stage.simulator.asked == stage.respondent.asked == []


async def test_lone_surrogates_are_refused(client: httpx.AsyncClient, stage: Stage) -> None:
    body = b'{"messages": [{"role": "user", "content": "\\ud800"}]}'
    response = await client.post("/v1/dialogues", content=body, headers={"Content-Type": "application/json"})
    assert response.status_code == 422
    assert stage.respondent.asked == []


async def test_a_large_body_is_refused_as_it_arrives(client: httpx.AsyncClient, stage: Stage) -> None:
    content = json.dumps({"messages": [user("x" * 900_000)] * 10}).encode()
    headers = {"Content-Type": "application/json"}
    for path in ("/v1/dialogues", "/v1/talks"):
        response = await client.post(path, content=content, headers=headers)
        assert (response.status_code, response.json()["detail"]) == (
            413,
            "a talk's request may have 8388608 bytes: send fewer messages",
        )
    assert stage.respondent.asked == []
