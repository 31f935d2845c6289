"""Pausing, resuming, cancelling, retrying; names that are none."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
from pathlib import Path

import httpx
import pytest

from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import (
    finish,
    only_of,
    said,
    submit,
    url_of,
    write,
)
from tests.integration.orchestrator.processes import Process
from tests.integration.orchestrator.queueing import append

TRAVERSALS = ["..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "a/../b", "%00", "run%0a", "*", "run:dead"]


async def test_pause_resume_cancel(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client)
    for action, state, status in [
        ("pause", "paused", 200),
        ("pause", "paused", 200),
        ("resume", "running", 200),
        ("resume", "running", 200),
        ("cancel", "cancelled", 200),
        ("cancel", "cancelled", 200),
    ]:
        response = await client.post(f"/v1/runs/{run_id}/{action}")
        assert (response.status_code, response.json()["state"]) == (status, state), action
    for action in ("pause", "resume", "retry-dead"):
        response = await client.post(f"/v1/runs/{run_id}/{action}")
        assert response.status_code == 409
        assert f"{run_id} is cancelled" in response.json()["detail"]


async def test_a_persons_pause_says_so(client: httpx.AsyncClient) -> None:
    run_id = await submit(client)
    assert (await client.post(f"/v1/runs/{run_id}/pause")).json()["pause"] == {"by": "user", "reason": "asked for"}
    assert (await client.post(f"/v1/runs/{run_id}/resume")).json()["pause"] is None


async def test_cancelling_waits_for_what_is_finished(client: httpx.AsyncClient, queue: Queue, folder: Path) -> None:
    run_id = await submit(client, fed=queue)
    [owned] = await only_of(queue, run_id, 1)
    await finish(queue, owned)
    response = await client.post(f"/v1/runs/{run_id}/cancel")
    assert (response.status_code, response.json()["state"]) == (202, "cancelling")
    await write(queue, folder, run_id)
    assert (await client.get(f"/v1/runs/{run_id}")).json()["state"] == "cancelled"


async def test_dead_conversations_are_retried(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, fed=queue, conversations=2, retries={"attempts": 1})
    for owned in await only_of(queue, run_id, 2):
        await append(queue, owned, 0, said("Hello"))
        await queue.fail(owned.conversation_id, owned.token, "it broke")
    assert (await client.get(f"/v1/runs/{run_id}")).json()["state"] == "completed"
    dead = (await client.get(f"/v1/runs/{run_id}/dead")).json()["dead"]
    assert [(letter["index"], letter["error"]) for letter in dead] == [(0, "it broke"), (1, "it broke")]
    for action in ("pause", "resume", "cancel"):
        assert (await client.post(f"/v1/runs/{run_id}/{action}")).status_code == 409
    answer = (await client.post(f"/v1/runs/{run_id}/retry-dead")).json()
    assert (answer["retried"], answer["run"]["state"], answer["run"]["dead"]) == (2, "running", 0)
    assert (await client.post(f"/v1/runs/{run_id}/retry-dead")).json()["retried"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", ""),
        ("GET", "/conversations"),
        ("GET", "/events"),
        ("GET", "/dead"),
        ("GET", "/manifest"),
        ("GET", "/segments/" + "0" * 32 + ".jsonl.zst"),
        ("GET", "/dataset"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/cancel"),
        ("POST", "/retry-dead"),
    ],
)
async def test_a_run_that_is_not_there(client: httpx.AsyncClient, method: str, path: str) -> None:
    response = await client.request(method, f"/v1/runs/run-none{path}")
    assert (response.status_code, response.json()) == (404, {"detail": "no run run-none"})


def get_as_it_is(api: Process, path: str) -> tuple[int, str]:
    """Status and text; other clients take a path's dots away before they send it."""
    connection = http.client.HTTPConnection(url_of(api).removeprefix("http://"), timeout=30)
    with contextlib.closing(connection):
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read().decode()


@pytest.mark.parametrize("name", TRAVERSALS)
async def test_no_path_reaches_the_file_system(
    api: Process, client: httpx.AsyncClient, folder: Path, name: str
) -> None:
    run_id = await submit(client)
    (folder / "data" / "secret").write_text("what nobody may read")
    for path in (
        f"/v1/runs/{name}",
        f"/v1/runs/{name}/dataset",
        f"/v1/runs/{name}/manifest",
        f"/v1/runs/{name}/conversations",
        f"/v1/runs/{name}/segments/{'0' * 32}.jsonl.zst",
        f"/v1/runs/{run_id}/segments/{name}",
        f"/v1/runs/{run_id}/segments/..%2f..%2f..%2fsecret",
        f"/v1/runs/{run_id}/segments/../../../secret",
        f"/v1/conversations/{name}",
        f"/v1/conversations/{name}-00000000",
    ):
        status, text = await asyncio.to_thread(get_as_it_is, api, path)
        assert status in (404, 422), path
        assert "what nobody may read" not in text
