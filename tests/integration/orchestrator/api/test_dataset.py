"""A run's dataset over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from platolm.dataset import ManifestEntry, manifest_path
from platolm.runs import conversation_id
from platolm.spec import OutputFormat
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import (
    finish,
    only_of,
    record,
    submit,
    write,
)


@pytest.mark.parametrize("form", list(OutputFormat))
async def test_the_dataset_in_every_form(
    client: httpx.AsyncClient, queue: Queue, folder: Path, form: OutputFormat
) -> None:
    run_id = await submit(client, fed=queue, conversations=3, output={"format": form.value})
    for claimed in await only_of(queue, run_id, 3):
        await finish(queue, claimed)
    await write(queue, folder, run_id, form)
    records = {index: record(run_id, index) for index in range(3)}
    sharegpt = await client.get(f"/v1/runs/{run_id}/dataset")
    assert sharegpt.headers["content-type"] == "application/jsonl"
    lines = [json.loads(line) for line in sharegpt.content.splitlines()]
    kept = ("id", "index", "conversations", "num_rounds", "termination_reason", "seed_mode")
    assert {line["index"]: {k: line[k] for k in kept} for line in lines} == {
        index: {k: one[k] for k in kept} for index, one in records.items()
    }
    openai = await client.get(f"/v1/runs/{run_id}/dataset", params={"format": "openai"})
    messages = {line["id"]: line["messages"] for line in map(json.loads, openai.content.splitlines())}
    assert messages[conversation_id(run_id, 1)] == [
        {"role": "user", "content": "Question 1?"},
        {"role": "assistant", "content": "Yes."},
    ]
    parquet = await client.get(f"/v1/runs/{run_id}/dataset", params={"format": "parquet"})
    assert (parquet.content[:4], parquet.content[-4:]) == (b"PAR1", b"PAR1")
    [entry] = (await client.get(f"/v1/runs/{run_id}/manifest")).json()["entries"]
    segment = await client.get(f"/v1/runs/{run_id}/segments/{entry['segment']}")
    assert len(segment.content) == entry["size_bytes"]
    assert (await client.get(f"/v1/runs/{run_id}/manifest", params={"after": 1})).json() == {"entries": []}


async def test_a_dataset_that_lacks_a_segment(client: httpx.AsyncClient, folder: Path) -> None:
    run_id = await submit(client)
    run_folder = folder / "data" / "runs" / run_id
    entry = ManifestEntry(number=1, segment="0" * 32 + ".jsonl.zst", indices=[0], size_bytes=1, sha256="")
    manifest_path(run_folder, 1).write_text(entry.model_dump_json())
    for path in ("dataset", "conversations"):
        response = await client.get(f"/v1/runs/{run_id}/{path}")
        assert (response.status_code, "missing" in response.json()["detail"]) == (507, True)
