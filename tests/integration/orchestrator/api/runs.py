"""Runs as an API without workers knows them; what workers would do, tests do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.endings import FinishReason
from platolm.runs import PausedBy, conversation_id
from platolm.spec import OutputFormat
from platolm.storage import open_place
from services.orchestrator.conversations.state import RecordedTurn
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.queue import Claim, Queue
from tests.integration.orchestrator.processes import Process
from tests.integration.orchestrator.queueing import claim

ENDPOINTS = "http://engines:8000/v1"
SIDE = {"profile": "p", "model": "m", "sampling": {}}


def url_of(api: Process) -> str:
    return api.ready_url.removesuffix("/readyz")


def body(conversations: int = 4, **fields: Any) -> dict[str, Any]:
    return {"spec": {"conversations": conversations, **fields}}


async def submit(client: httpx.AsyncClient, *, fed: Queue | None = None, **fields: Any) -> str:
    """A new run, its conversations fed to the queue where one is given."""
    response = await client.post("/v1/runs", json=body(**fields))
    assert response.status_code == 201, response.text
    run: dict[str, Any] = response.json()
    if fed is not None:
        seeds = ["{}"] * run["spec"]["conversations"]
        await fed.feed(run["id"], cursor=0, seeds=seeds, window=1000, max_finished=1000)
    return str(run["id"])


def said(text: str, role: str = USER) -> str:
    return RecordedTurn(role, text, FinishReason.STOP, num_tokens=3, token_ids=[1, 2, 3], at=1.5).to_json()


def record(run_id: str, index: int) -> dict[str, Any]:
    turn = {"num_tokens": 1, "num_prompt_tokens": 2, "finish_reason": "stop", "sampling_seed": 3, "duration_s": 0.5}
    return {
        "id": conversation_id(run_id, index),
        "run_id": run_id,
        "index": index,
        "conversations": [{"from": "human", "value": f"Question {index}?"}, {"from": "gpt", "value": "Yes."}],
        "num_rounds": 1,
        "termination_reason": "turn_limit",
        "simulator": {**SIDE, "system_prompt": None},
        "respondent": {**SIDE, "system_prompt": None},
        "seed": 0,
        "seed_mode": "free",
        "seed_line": None,
        "turns": [{"role": role, **turn, "token_ids": [5]} for role in (USER, ASSISTANT)],
        "started_at": 1.0,
        "finished_at": 2.0,
    }


async def finish(queue: Queue, owned: Claim) -> None:
    text = json.dumps(record(owned.run_id, owned.index))
    await queue.finish(
        owned.conversation_id, owned.token, expected=0, record=text, reason=TerminationReason.TURN_LIMIT, held_tokens=5
    )


async def write(queue: Queue, folder: Path, run_id: str, form: OutputFormat = OutputFormat.JSONL) -> None:
    """What the dataset writer does with the records that wait."""
    waiting = await queue.finished_records(run_id, limit=1000)
    writer = DatasetWriter(open_place(folder / "data" / "runs" / run_id), conversations=1000, form=form)
    writer.commit(waiting)
    await queue.commit(run_id, committed=len(writer.committed), indices=waiting)


async def only_of(queue: Queue, run_id: str, count: int) -> list[Claim]:
    """Claims of one run; those of others' tests are cancelled or over by then."""
    for other in set(await queue.active_runs()) - {run_id}:
        await queue.pause(other, PausedBy.USER, "another test's")
    owned = await claim(queue, count)
    assert [claimed.run_id for claimed in owned] == [run_id] * count
    return owned
