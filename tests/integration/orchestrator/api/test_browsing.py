"""Browsing over HTTP: records, searches, histograms, marks."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from platolm.runs import conversation_id
from platolm.spec import OutputFormat
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import finish, only_of, submit, write


async def browsed(client: httpx.AsyncClient, queue: Queue, folder: Path, **fields: Any) -> str:
    """A run of five whose conversations were committed in two segments: 0, 1 and then 2, 3."""
    run_id = await submit(client, fed=queue, conversations=5, **fields)
    owned = sorted(await only_of(queue, run_id, 4), key=lambda claimed: claimed.index)
    form = OutputFormat(fields.get("output", {}).get("format", "jsonl"))
    for pair in (owned[:2], owned[2:]):
        for claimed in pair:
            await finish(queue, claimed)
        await write(queue, folder, run_id, form)
    await queue.cancel(run_id)
    return run_id


async def found(client: httpx.AsyncClient, run_id: str, **query: Any) -> list[int]:
    """The indices on all pages."""
    indices: list[int] = []
    while True:
        page = (await client.get(f"/v1/runs/{run_id}/records", params=query)).raise_for_status().json()
        assert (page["total"], len(page["records"]) <= query.get("limit", 50)) == (4, True)
        indices += [record["index"] for record in page["records"]]
        if page["next_cursor"] is None:
            assert page["searched"] == 4
            return indices
        query["cursor"] = page["next_cursor"]


@pytest.mark.parametrize("form", list(OutputFormat))
async def test_records_are_browsed_and_searched(
    client: httpx.AsyncClient, queue: Queue, folder: Path, form: OutputFormat
) -> None:
    run_id = await browsed(client, queue, folder, output={"format": form.value})
    for limit in (1, 3, 50):
        assert await found(client, run_id, limit=limit) == [0, 1, 2, 3]
        assert await found(client, run_id, limit=limit, q="question") == [0, 1, 2, 3]
    assert await found(client, run_id, start=3) == [3]
    assert await found(client, run_id, q="QUESTION 2") == [2]
    assert await found(client, run_id, q="nowhere") == []
    assert await found(client, run_id, ending="turn_limit", min_rounds=1, max_rounds=1) == [0, 1, 2, 3]
    assert await found(client, run_id, ending="empty") == []
    assert await found(client, run_id, min_rounds=2) == []
    page = (await client.get(f"/v1/runs/{run_id}/records", params={"q": "tion 1", "limit": 1})).json()
    assert page == {
        "records": [
            {
                "id": conversation_id(run_id, 1),
                "index": 1,
                "position": 1,
                "termination_reason": "turn_limit",
                "num_rounds": 1,
                "num_tokens": 2,
                "opening": "Question 1?",
                "snippet": {"role": "user", "turn_index": 0, "before": "Ques", "match": "tion 1", "after": "?"},
                "mark": None,
            }
        ],
        "next_cursor": "2",
        "searched": 2,
        "total": 4,
    }


async def test_histograms(client: httpx.AsyncClient, queue: Queue, folder: Path) -> None:
    run_id = await browsed(client, queue, folder)
    assert (await client.get(f"/v1/runs/{run_id}/histograms")).raise_for_status().json() == {
        "conversations": 4,
        "total": 4,
        "rounds": [[1, 4]],
        "user_tokens": [[1, 4]],
        "assistant_tokens": [[1, 4]],
        "terminations": {"turn_limit": 4},
        "generated_tokens": 8,
        "faults": {},
    }


async def test_marks_are_kept_and_exported(client: httpx.AsyncClient, queue: Queue, folder: Path) -> None:
    run_id = await browsed(client, queue, folder)
    for index, wanted in [(1, {"mark": "good", "note": "as people talk"}), (3, {"mark": "bad"}), (2, {"mark": "bad"})]:
        path = f"/v1/conversations/{conversation_id(run_id, index)}"
        kept = (await client.put(f"{path}/mark", json=wanted)).raise_for_status().json()
        assert (kept["mark"], kept["note"]) == (wanted["mark"], wanted.get("note"))
        assert (await client.get(path)).json()["mark"] == kept
    back = await client.put(f"/v1/conversations/{conversation_id(run_id, 2)}/mark", json={"mark": None, "note": None})
    assert (back.status_code, back.json()["mark"]) == (200, None)
    marks = folder / "data" / "runs" / run_id / "marks"
    assert sorted(path.name for path in marks.iterdir()) == ["00000001.json", "00000003.json"]
    by_mark = {mark: await found(client, run_id, mark=mark) for mark in ("good", "bad", "any")}
    assert by_mark == {"good": [1], "bad": [3], "any": [1, 3]}
    exported = (await client.get(f"/v1/runs/{run_id}/dataset")).text.splitlines()
    assert [json.loads(line).get("mark") for line in exported] == [None, "good", None, "bad"]
    [good] = (await client.get(f"/v1/runs/{run_id}/dataset?format=openai&mark=good")).text.splitlines()
    assert (json.loads(good)["mark"], json.loads(good)["note"]) == ("good", "as people talk")
    parquet = await client.get(f"/v1/runs/{run_id}/dataset?format=parquet&mark=any")
    assert pq.read_table(io.BytesIO(parquet.content)).column("mark").to_pylist() == ["good", "bad"]


async def test_a_run_without_records(client: httpx.AsyncClient) -> None:
    run_id = await submit(client)
    page = (await client.get(f"/v1/runs/{run_id}/records", params={"q": "a", "mark": "any"})).json()
    assert page == {"records": [], "next_cursor": None, "searched": 0, "total": 0}


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("records", {"q": ""}),
        ("records", {"q": "a" * 201}),
        ("records", {"ending": "tired"}),
        ("records", {"mark": "fine"}),
        ("records", {"cursor": "x"}),
        ("records", {"start": -1}),
        ("records", {"limit": 201}),
        ("dataset", {"mark": "fine"}),
    ],
)
async def test_a_query_that_is_none(client: httpx.AsyncClient, path: str, query: dict[str, Any]) -> None:
    run_id = await submit(client)
    response = await client.get(f"/v1/runs/{run_id}/{path}", params=query)
    assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["query", *query])


async def test_a_mark_that_is_none(client: httpx.AsyncClient) -> None:
    run_id = await submit(client, conversations=1)
    path = f"/v1/conversations/{conversation_id(run_id, 0)}/mark"
    for body in ({"mark": "fine"}, {"note": "a" * 2001}, {"marks": "good"}):
        assert (await client.put(path, json=body)).status_code == 422
    nobody = await client.put(f"/v1/conversations/{conversation_id(run_id, 1)}/mark", json={"mark": "good"})
    assert nobody.status_code == 404
