"""Conversations by page and by id."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.runs import conversation_id
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import (
    finish,
    only_of,
    record,
    said,
    submit,
    write,
)
from tests.integration.orchestrator.queueing import append


async def pages(client: httpx.AsyncClient, run_id: str, **query: Any) -> list[dict[str, Any]]:
    """All pages together."""
    found: list[dict[str, Any]] = []
    while True:
        page = (await client.get(f"/v1/runs/{run_id}/conversations", params=query)).raise_for_status().json()
        assert len(page["conversations"]) <= query.get("limit", 50)
        found += page["conversations"]
        if page["next_cursor"] is None:
            return found
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("limit", [1, 2, 3, 1000])
async def test_conversations_wherever_they_are(
    client: httpx.AsyncClient, queue: Queue, folder: Path, limit: int
) -> None:
    run_id = await submit(client, fed=queue, conversations=12, retries={"attempts": 1})
    owned = await only_of(queue, run_id, 9)
    for number, claimed in enumerate(owned[:5]):
        await finish(queue, claimed)
        if number in (1, 2):
            await write(queue, folder, run_id)
    for claimed in owned[5:7]:
        await append(queue, claimed, 0, said("Hello"))
        await queue.fail(claimed.conversation_id, claimed.token, "it broke")
    await append(queue, owned[7], 0, said("Hello"))
    states = {
        "finished": {claimed.index for claimed in owned[:5]},
        "dead": {claimed.index for claimed in owned[5:7]},
        "in_flight": {claimed.index for claimed in owned[7:]},
    }
    states["queued"] = set(range(12)) - set().union(*states.values())
    every = await pages(client, run_id, limit=limit)
    assert sorted(found["index"] for found in every) == list(range(12))
    for state, indices in states.items():
        listed = await pages(client, run_id, limit=limit, state=state)
        assert {found["index"] for found in listed} == indices, state
        assert len(listed) == len(indices)
        for found in listed:
            assert found == next(one for one in every if one["index"] == found["index"])
            detail = (await client.get(f"/v1/conversations/{found['id']}")).raise_for_status().json()
            assert (detail["run_id"], detail["index"], detail["state"]) == (run_id, found["index"], state)
            assert len(detail["turns"]) == found["num_turns"]
            assert (detail["record"] is not None) == (state == "finished")
    await queue.cancel(run_id)


async def test_what_a_conversation_holds(client: httpx.AsyncClient, queue: Queue, folder: Path) -> None:
    run_id = await submit(client, fed=queue, conversations=3, retries={"attempts": 1})
    first, second, third = await only_of(queue, run_id, 3)
    await finish(queue, first)
    await write(queue, folder, run_id)
    await append(queue, second, 0, said("Hello"))
    await queue.fail(second.conversation_id, second.token, "it broke")
    await append(queue, third, 0, said("Good day"))
    finished, dead, in_flight = [
        (await client.get(f"/v1/conversations/{claimed.conversation_id}")).json() for claimed in (first, second, third)
    ]
    assert finished["record"] == record(run_id, first.index)
    assert [(turn["role"], turn["content"]) for turn in finished["turns"]] == [
        (USER, f"Question {first.index}?"),
        (ASSISTANT, "Yes."),
    ]
    assert finished["turns"][0]["finish_reason"] == "stop"
    assert (dead["error"], dead["attempts"], dead["turns"][0]["content"]) == ("it broke", 1, "Hello")
    assert (in_flight["turns"][0]["content"], in_flight["turns"][0]["num_tokens"]) == ("Good day", 3)
    await queue.cancel(run_id)
    assert (await client.get(f"/v1/conversations/{third.conversation_id}")).status_code == 404
    assert (await client.get(f"/v1/conversations/{first.conversation_id}")).status_code == 200


async def test_a_conversation_whose_turn_has_not_come(client: httpx.AsyncClient) -> None:
    run_id = await submit(client, conversations=10)
    found = (await client.get(f"/v1/conversations/{conversation_id(run_id, 9)}")).json()
    assert (found["state"], found["turns"], found["record"]) == ("queued", [], None)
    for name in (conversation_id(run_id, 10), f"{run_id}-000000009", "run-none-00000000"):
        assert (await client.get(f"/v1/conversations/{name}")).status_code == 404


@pytest.mark.parametrize(
    "cursor",
    [
        "x",
        "",
        "é",
        base64.urlsafe_b64encode(b'{"stage": "queue", "entry": "+"}').decode(),
        base64.urlsafe_b64encode(b'{"stage": "elsewhere"}').decode(),
        base64.urlsafe_b64encode(b'{"stage": "written", "number": -1}').decode(),
        base64.urlsafe_b64encode(b'{"stage": "dead"}').decode(),
    ],
)
async def test_a_cursor_that_is_none(client: httpx.AsyncClient, cursor: str) -> None:
    run_id = await submit(client)
    query = {"cursor": cursor, "state": "finished"}
    response = await client.get(f"/v1/runs/{run_id}/conversations", params=query)
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", "cursor"])
