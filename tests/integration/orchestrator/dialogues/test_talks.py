"""Saved talks: in the layout of a run's dataset, whoever saves, and whenever a process dies."""

from __future__ import annotations

import asyncio
import io
import json
import time
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.dataset import ConversationRecord, TurnRecord, read_manifest, read_records
from platolm.dyadic import PLATOLM, SOCRATIC
from platolm.runs import conversation_id
from platolm.tokenizer import load_tokenizer
from platolm.tokenizing import tokenize_file
from tests.integration.orchestrator.dialogues.conftest import Stage
from tests.integration.orchestrator.dialogues.streams import assistant, converse, user
from tests.integration.orchestrator.processes import Process, api_process
from training.data.dialogues import conversation_of, dialogue_of
from training.data.reading import chunks_of, files_of


def a_talk(text: str = "Why?", **fields: Any) -> dict[str, Any]:
    return {"turns": [user(text), {**assistant("Because."), "model": "platolm", "num_tokens": 2}], **fields}


async def save(client: httpx.AsyncClient, talk: dict[str, Any]) -> str:
    response = await client.post("/v1/talks", json=talk)
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def talks_folder(folder: Path) -> Path:
    return folder / "data" / "runs" / "talks"


def texts(folder: Path) -> dict[str, str]:
    """First words of every talk that counts, by its id."""
    return {record["id"]: record["conversations"][0]["value"] for record in read_records(talks_folder(folder))}


@pytest.fixture
async def fresh(stage: Stage, tmp_path: Path) -> Any:
    """A client of an API that has no talk yet."""
    api = api_process(tmp_path, stage.redis_url, simulator_url=stage.simulator.url).start()
    async with httpx.AsyncClient(base_url=api.ready_url.removesuffix("/readyz"), timeout=30) as client:
        yield client
    api.end()


async def test_a_talk_as_it_was_spoken(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script += ["It scatters light.", "It does."]
    stage.simulator.script += ["Is that so?", "And at night?"]
    stage.simulator.profile = "socratic-newline"
    events = await converse(client, user("Why is the sky blue?"), num_turns=4, seed=8)
    said = [data for name, data in events if name == "turn"]
    assert events[-1] == ("done", {"num_turns": 4})
    before = time.time()
    sampling = {"temperature": 0.5, "system_prompt": "Be brief."}
    talk: dict[str, Any] = {
        "turns": [user("Why is the sky blue?"), *said],
        "respondent": sampling,
        "seed": 8,
        "title": " Sky ",
        "mark": "good",
        "started_at": 5.5,
    }
    talk_id = await save(client, talk)
    detail = (await client.get(f"/v1/conversations/{talk_id}")).json()
    assert (detail["run_id"], detail["state"], detail["mark"]["mark"]) == ("talks", "finished", "good")
    assert [(turn["role"], turn["content"]) for turn in detail["turns"]] == [
        (turn["role"], turn["content"]) for turn in talk["turns"]
    ]
    record = detail["record"]
    assert ConversationRecord.model_validate(record).model_dump(mode="json") == {
        name: value for name, value in record.items() if name not in ("title", "mark", "note")
    }
    assert (record["title"], record["seed"], record["seed_mode"]) == ("Sky", 8, "question")
    assert (record["started_at"], before - 1 <= record["finished_at"] <= time.time() + 1) == (5.5, True)
    assert (record["num_rounds"], record["termination_reason"]) == (2, "cancelled")
    assert (record["simulator"]["model"], record["simulator"]["profile"]) == ("socratic", "socratic-newline")
    assert record["respondent"] == {
        "profile": "platolm",
        "model": "platolm",
        "sampling": {
            "temperature": 0.5, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0, "max_tokens": 512,
        },
        "system_prompt": "Be brief.",
    }  # fmt: skip
    given, generated = record["turns"][:2]
    assert given == TurnRecord(role=USER, num_tokens=0, finish_reason="seed").model_dump()
    spoken = {name: said[0][name] for name in ("num_prompt_tokens", "num_cached_tokens", "duration_s")}
    assert (
        generated
        == TurnRecord(
            role=ASSISTANT, num_tokens=3, finish_reason="stop", sampling_seed=said[0]["sampling_seed"], **spoken
        ).model_dump()
    )


async def test_what_ended_a_talk_is_left_out(client: httpx.AsyncClient, stage: Stage) -> None:
    turns = [user("Hi?"), assistant("Hello."), {**user("Bye "), "finish_reason": "stop", "end": "marker"}]
    talk_id = await save(client, {"turns": turns, "termination_reason": "user_ended"})
    record = (await client.get(f"/v1/conversations/{talk_id}")).json()["record"]
    assert [turn["value"] for turn in record["conversations"]] == ["Hi?", "Hello."]
    assert (record["termination_reason"], record["goodbye_at"], record["goodbye_end"]) == ("user_ended", 2, "marker")
    blank = await client.post("/v1/talks", json={"turns": [user(" ")], "termination_reason": "empty"})
    assert (blank.status_code, blank.json()) == (
        422,
        {
            "detail": [
                {
                    "loc": ["body", "turns"],
                    "msg": "nothing is left to save: what ended the talk was all that was said in it",
                }
            ]
        },
    )


async def test_talks_by_page(fresh: httpx.AsyncClient) -> None:
    assert (await fresh.get("/v1/talks")).json() == {"talks": [], "next_cursor": None}
    assert (await fresh.get("/v1/talks/dataset")).content == b""
    ids = [await save(fresh, a_talk(f"Question {number}?")) for number in range(5)]
    assert ids == [conversation_id("talks", number) for number in range(5)]
    await fresh.put(f"/v1/conversations/{ids[1]}/mark", json={"mark": "bad", "note": "dull"})
    pages, cursor = [], None
    while True:
        params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
        page = (await fresh.get("/v1/talks", params=params)).raise_for_status().json()
        pages.append([talk["id"] for talk in page["talks"]])
        if (cursor := page["next_cursor"]) is None:
            break
    assert pages == [ids[4:2:-1], ids[2:0:-1], ids[:1]]
    second = (await fresh.get("/v1/talks")).json()["talks"][3]
    assert second.pop("saved_at") <= time.time() + 1
    assert (second["mark"].pop("at") > 0, second.pop("mark")) == (True, {"mark": "bad", "note": "dull"})
    assert second == {
        "id": ids[1],
        "title": None,
        "opening": "Question 1?",
        "num_turns": 2,
        "num_rounds": 1,
        "num_tokens": 2,
        "termination_reason": "cancelled",
        "simulator": "person",
        "respondent": "platolm",
    }


async def test_the_talks_as_a_dataset(fresh: httpx.AsyncClient, tmp_path: Path, byte_tokenizer_folder: Path) -> None:
    for number in range(3):
        await save(fresh, a_talk(f"Question {number}?", mark="good" if number == 1 else None))
    exported = (await fresh.get("/v1/talks/dataset")).raise_for_status()
    records = [json.loads(line) for line in exported.content.splitlines()]
    assert [record["index"] for record in records] == [0, 1, 2]
    assert [record.get("mark") for record in records] == [None, "good", None]
    openai = (await fresh.get("/v1/talks/dataset", params={"format": "openai", "mark": "good"})).text
    assert [json.loads(line)["messages"] for line in openai.splitlines()] == [
        [user("Question 1?"), assistant("Because.")]
    ]
    parquet = await fresh.get("/v1/talks/dataset", params={"format": "parquet"})
    assert pq.read_table(io.BytesIO(parquet.content)).column("id").to_pylist() == [record["id"] for record in records]
    file = tmp_path / "talks.jsonl"
    file.write_bytes(exported.content)
    tokenizer = load_tokenizer(byte_tokenizer_folder)
    for path in (file, talks_folder(tmp_path)):
        [chunk] = chunks_of(files_of([str(path)]))
        for entry, record in zip(chunk.entries, records, strict=True):
            conversation = conversation_of(entry.record, entry.line)
            dialogue = dialogue_of(entry.record, conversation, [SOCRATIC, PLATOLM], tokenizer)
            assert [(turn.role, turn.content) for turn in dialogue.spoken] == [
                (USER, record["conversations"][0]["value"]),
                (ASSISTANT, "Because."),
            ]
    counts = tokenize_file(file, tmp_path / "rows.jsonl", PLATOLM, tokenizer)
    assert (counts.rows, counts.labelled_tokens, counts.bad_lines) == (3, 3 * len("<Because.>"), [])


async def test_the_talks_are_a_run_that_is_over(client: httpx.AsyncClient) -> None:
    await save(client, a_talk("A needle in it?"))
    run = (await client.get("/v1/runs/talks")).json()
    assert (run["state"], run["committed"] >= 1, run["spec"]["name"]) == ("completed", True, "Saved talks")
    found = (await client.get("/v1/runs/talks/records", params={"q": "a needle"})).raise_for_status().json()
    assert [record["opening"] for record in found["records"]] == ["A needle in it?"]
    assert (await client.get("/v1/runs/talks/histograms")).json()["conversations"] >= 1
    assert all(other["id"] != "talks" for other in (await client.get("/v1/runs")).json()["runs"])
    for action in ("pause", "resume", "cancel"):
        response = await client.post(f"/v1/runs/talks/{action}")
        assert (response.status_code, response.json()["detail"].partition(":")[0]) == (409, "run talks is completed")
    assert (await client.post("/v1/runs/talks/retry-dead")).json()["retried"] == 0
    assert (await client.get("/v1/runs/talks/events")).status_code == 200
    assert (await client.get("/v1/conversations/talks-00999999")).status_code == 404


async def test_many_save_at_once_at_two_servers(stage: Stage, tmp_path: Path) -> None:
    servers = [api_process(tmp_path, stage.redis_url).start() for _ in range(2)]
    try:
        async with httpx.AsyncClient(timeout=60) as client:

            async def saved(number: int) -> tuple[str, str]:
                url = servers[number % 2].ready_url.removesuffix("/readyz")
                response = await client.post(f"{url}/v1/talks", json=a_talk(f"Question {number}?"))
                assert response.status_code == 201, response.text
                return response.json()["id"], f"Question {number}?"

            answers = await asyncio.gather(*map(saved, range(40)))
            for server in servers:
                url = server.ready_url.removesuffix("/readyz")
                listed = (await client.get(f"{url}/v1/talks", params={"limit": 200})).json()["talks"]
                assert {talk["id"]: talk["opening"] for talk in listed} == dict(answers)
    finally:
        for server in servers:
            server.end()
    assert texts(tmp_path) == dict(answers)
    assert sorted(dict(answers)) == [conversation_id("talks", index) for index in range(40)]
    named = {entry.segment for entry in read_manifest(talks_folder(tmp_path))}
    assert {path.name for path in (talks_folder(tmp_path) / "segments").iterdir()} == named


@pytest.mark.parametrize(
    ("point", "counts"),
    [
        ("writer.before_segment", False),
        ("writer.segment_written", False),
        ("writer.segment_renamed", False),
        ("writer.manifest_linked", True),
    ],
)
async def test_a_kill_leaves_no_half_a_talk(stage: Stage, tmp_path: Path, point: str, counts: bool) -> None:
    def server(**settings: Any) -> Process:
        return api_process(tmp_path, stage.redis_url, **settings).start()

    first = server(crash_at=f"{point}:2")
    async with httpx.AsyncClient(base_url=first.ready_url.removesuffix("/readyz"), timeout=30) as client:
        await save(client, a_talk("First?"))
        with pytest.raises(httpx.TransportError):
            await client.post("/v1/talks", json=a_talk("Second?"))
    assert first.popen is not None
    assert first.popen.wait(10) == -9
    expected = {"talks-00000000": "First?"} | ({"talks-00000001": "Second?"} if counts else {})
    assert texts(tmp_path) == expected
    second = server()
    async with httpx.AsyncClient(base_url=second.ready_url.removesuffix("/readyz"), timeout=30) as client:
        expected[await save(client, a_talk("Third?"))] = "Third?"
    second.end()
    assert len(expected) == (3 if counts else 2)
    assert texts(tmp_path) == expected
