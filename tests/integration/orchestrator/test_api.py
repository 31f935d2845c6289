"""The API as a client meets it: a real process on a real Redis, without workers; what they would do, tests do."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import http.client
import json
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dataset import ManifestEntry, manifest_path
from platolm.endings import FinishReason
from platolm.runs import PausedBy, conversation_id
from platolm.spec import OutputFormat
from platolm.storage import open_place
from services.orchestrator.conversations.state import RecordedTurn
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.engines.sides import SideDescription
from services.orchestrator.queue import Claim, Queue
from tests.integration.orchestrator.processes import Process, api_process, wait_until
from tests.integration.orchestrator.queueing import append, claim
from tests.redis_server import RedisServer

ENDPOINTS = "http://engines:8000/v1"
KEY = "a-key-for-this-test"
TRAVERSALS = ["..", "../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e", "a/../b", "%00", "run%0a", "*", "run:dead"]
SIDE = {"profile": "p", "model": "m", "sampling": {}}


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def api(redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    folder = tmp_path_factory.mktemp("api")
    allowed = {"allowed_endpoints": ENDPOINTS, "allowed_outputs": f"file://{folder}/out"}
    process = api_process(folder, redis_server.url, **allowed, max_request_mib=64).start()
    yield process
    process.end()


@pytest.fixture(scope="module")
def folder(api: Process) -> Path:
    return api.log.parent


@pytest.fixture
async def client(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=url_of(api), timeout=60) as client:
        yield client


@pytest.fixture
async def queue(redis_server: RedisServer) -> AsyncIterator[Queue]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        yield Queue(redis)


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


# submitting


async def test_a_run_is_on_disk_and_in_redis(client: httpx.AsyncClient, folder: Path) -> None:
    seeds = [{"question": f"Why {i}?", "line": i + 1} for i in range(3)]
    response = await client.post("/v1/runs", json={**body(seed_mode="question"), "seeds": seeds})
    run = response.json()
    assert (response.status_code, run["state"], run["spec"]["seed_mode"]) == (201, "running", "question")
    lines = (folder / "data" / "runs" / run["id"] / "seeds.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == seeds
    assert (await client.get(f"/v1/runs/{run['id']}")).json() == run
    assert (await client.get("/v1/runs")).json()["runs"][0] == run


async def test_every_problem_is_said_with_its_place_and_without_the_input(client: httpx.AsyncClient) -> None:
    wrong = {"spec": {"conversations": 0, "sed": "s" * 5000, "simulator": {"profile": "plato"}}, "seeds": [{"q": 1}]}
    response = await client.post("/v1/runs", json=wrong)
    assert response.status_code == 422
    assert response.json()["detail"] == [
        {"loc": ["body", "spec", "conversations"], "msg": "Input should be greater than or equal to 1"},
        {"loc": ["body", "spec", "simulator", "profile"], "msg": "Input should be 'socratic' or 'platolm'"},
        {"loc": ["body", "spec", "sed"], "msg": "Extra inputs are not permitted"},
        {"loc": ["body", "seeds", 0, "q"], "msg": "Extra inputs are not permitted"},
    ]


async def test_problems_are_bounded(client: httpx.AsyncClient) -> None:
    seeds = [{"k" * 10_000 + str(i): "x" * 10_000} for i in range(500)]
    response = await client.post("/v1/runs", json={**body(seed_mode="question"), "seeds": seeds})
    assert (response.status_code, len(response.json()["detail"])) == (422, 100)
    assert len(response.content) < 100_000


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"spec": {"conversations": NaN}}'])
async def test_a_body_that_is_no_request(client: httpx.AsyncClient, content: bytes) -> None:
    response = await client.post("/v1/runs", content=content, headers={"Content-Type": "application/json"})
    assert (response.status_code, response.json()["detail"][0]["loc"][0]) == (422, "body")


async def test_values_of_another_type_are_not_converted(client: httpx.AsyncClient) -> None:
    wrong = body(seed="7", endings={"user_ended": 1, "max_turns": "4"}, simulator={"profile": "socratic", "model": 5})
    response = await client.post("/v1/runs", json=wrong)
    assert {tuple(problem["loc"][2:]) for problem in response.json()["detail"]} == {
        ("seed",),
        ("endings", "user_ended"),
        ("endings", "max_turns"),
        ("simulator", "model"),
    }


async def test_another_media_type(client: httpx.AsyncClient) -> None:
    response = await client.post("/v1/runs", content=json.dumps(body()), headers={"Content-Type": "text/plain"})
    assert response.status_code == 415


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"simulator": {"profile": "socratic", "endpoints": ["http://x/v1"]}}, ["simulator", "endpoints", 0]),
        (
            {"respondent": {"profile": "platolm", "endpoints": [ENDPOINTS, ENDPOINTS + "0"]}},
            ["respondent", "endpoints", 1],
        ),
        ({"output": {"url": "s3://bucket"}}, ["output", "url"]),
        ({"output": {"url": "file:///etc"}}, ["output", "url"]),
    ],
)
async def test_places_that_the_operator_does_not_allow(
    client: httpx.AsyncClient, fields: dict[str, Any], place: list[str | int]
) -> None:
    response = await client.post("/v1/runs", json=body(**fields))
    assert response.status_code == 422
    [problem] = response.json()["detail"]
    assert problem["loc"] == ["body", "spec", *place]
    assert problem["msg"].startswith("is not below a URL that the operator allows (PLATOLM_API_ALLOWED_")


async def test_places_that_the_operator_allows(client: httpx.AsyncClient, folder: Path) -> None:
    output = f"file://{folder}/out/mine"
    side = {"profile": "socratic", "endpoints": [ENDPOINTS]}
    run_id = await submit(client, simulator=side, output={"url": output})
    assert (folder / "out" / "mine" / run_id / "run.json").is_file()
    assert not (folder / "data" / "runs" / run_id).exists()
    assert (await client.get(f"/v1/runs/{run_id}/manifest")).json() == {"entries": []}


async def test_seeds_are_compared_with_what_workers_found(
    client: httpx.AsyncClient, queue: Queue, byte_tokenizer_folder: Path
) -> None:
    for name in ("simulator", "respondent"):
        await queue.publish_side(name, asdict(SideDescription(name, str(byte_tokenizer_folder), 1024)))
    try:
        fits, not_ = {"question": "q" * 600, "line": 1}, {"question": "q" * 1000, "line": 2}
        response = await client.post("/v1/runs", json={**body(seed_mode="question"), "seeds": [fits, not_]})
        assert response.json()["warnings"] == [
            "context is 1024 tokens, the models' limit, not 2048",
            "1 seeds leave no room for an answer in 1024 tokens and are left out (lines 2)",
        ]
        response = await client.post("/v1/runs", json={**body(seed_mode="question"), "seeds": [not_]})
        assert (response.status_code, response.json()["detail"][0]["loc"]) == (422, ["body", "seeds"])
    finally:
        async with Redis.from_url(str(api_redis(queue))) as redis:
            await redis.delete(queue.key("sides"))


def api_redis(queue: Queue) -> str:
    arguments = queue._redis.connection_pool.connection_kwargs
    return f"redis://{arguments['host']}:{arguments['port']}/0"


# idempotency


async def test_a_repeated_request_gives_the_run_that_exists(client: httpx.AsyncClient) -> None:
    headers = {"Idempotency-Key": "repeated"}
    first = await client.post("/v1/runs", json=body(), headers=headers)
    spelled_out = await client.post("/v1/runs", json={**body(seed_mode="free"), "seeds": []}, headers=headers)
    other = await client.post("/v1/runs", json=body(5), headers=headers)
    assert [first.status_code, spelled_out.status_code, other.status_code] == [201, 200, 409]
    assert spelled_out.json()["id"] == first.json()["id"]
    assert first.json()["id"] in other.json()["detail"]


async def test_requests_at_the_same_time_make_one_run(client: httpx.AsyncClient, folder: Path) -> None:
    runs = folder / "data" / "runs"
    before = {path.name for path in runs.iterdir()}
    headers = {"Idempotency-Key": "at the same time"}
    responses = await asyncio.gather(*(client.post("/v1/runs", json=body(), headers=headers) for _ in range(12)))
    assert sorted(response.status_code for response in responses) == [200] * 11 + [201]
    [run_id] = {response.json()["id"] for response in responses}
    made = {path.name for path in runs.iterdir() if (path / "run.json").exists()} - before
    assert made == {run_id}, "the folders of the others are taken back"


@pytest.mark.parametrize(("point", "num_folders"), [("api.run_folder_written", 2), ("api.run_created", 1)])
def test_killed_in_mid_submission(redis_server: RedisServer, tmp_path: Path, point: str, num_folders: int) -> None:
    """The same request makes one run, whether or not it was there when the API died."""
    victim = api_process(tmp_path, redis_server.url, crash_at=f"{point}:1").start()
    headers = {"Idempotency-Key": point}
    with pytest.raises(httpx.TransportError):
        httpx.post(f"{url_of(victim)}/v1/runs", json=body(), headers=headers)
    assert victim.popen is not None
    assert victim.popen.wait(10) == -signal.SIGKILL
    heir = api_process(tmp_path, redis_server.url).start()
    try:
        again = httpx.post(f"{url_of(heir)}/v1/runs", json=body(), headers=headers)
        assert again.status_code == (201 if num_folders == 2 else 200)
        assert (tmp_path / "data" / "runs" / again.json()["id"] / "seeds.jsonl").is_file()
        assert len(list((tmp_path / "data" / "runs").iterdir())) == num_folders
    finally:
        heir.end()


# steering


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


# conversations


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


# the dataset


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
    lines = [json.loads(line) for line in sharegpt.text.splitlines()]
    kept = ("id", "index", "conversations", "num_rounds", "termination_reason", "seed_mode")
    assert {line["index"]: {k: line[k] for k in kept} for line in lines} == {
        index: {k: one[k] for k in kept} for index, one in records.items()
    }
    openai = await client.get(f"/v1/runs/{run_id}/dataset", params={"format": "openai"})
    messages = {line["id"]: line["messages"] for line in map(json.loads, openai.text.splitlines())}
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


# events


async def read_events(response: httpx.Response) -> AsyncIterator[tuple[str, Any]]:
    name = ""
    async for line in response.aiter_lines():
        if line.startswith("event: "):
            name = line.removeprefix("event: ")
        elif line.startswith("data: "):
            yield name, json.loads(line.removeprefix("data: "))


async def test_events_until_the_runs_end(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, fed=queue, conversations=1)
    [owned] = await only_of(queue, run_id, 1)
    seen: list[tuple[str, Any]] = []
    url = f"/v1/runs/{run_id}/events"
    async with client.stream("GET", url, headers={"Last-Event-ID": "77"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for name, data in read_events(response):
            if not seen:
                for number in range(3):
                    await append(queue, owned, number, said(f"Line\n{number} é"))
                await queue.cancel(run_id)
            seen.append((name, data))
    assert seen[0][0] == seen[-1][0] == "progress"
    assert (seen[0][1]["state"], seen[-1][1]["state"]) == ("running", "cancelled")
    assert [data for name, data in seen if name == "turn"] == [
        {
            "conversation_id": owned.conversation_id,
            "index": 0,
            "turn_index": number,
            "role": USER,
            "content": f"Line\n{number} é",
        }
        for number in range(3)
    ]


async def test_a_run_that_is_over_has_one_event(client: httpx.AsyncClient) -> None:
    run_id = await submit(client)
    await client.post(f"/v1/runs/{run_id}/cancel")
    response = await client.get(f"/v1/runs/{run_id}/events")
    assert response.text.count("event: ") == 1
    assert '"state":"cancelled"' in response.text


async def subscriptions(queue: Queue, run_id: str) -> int:
    [(_, count)] = await queue._redis.pubsub_numsub(queue.key("events", run_id))
    return int(count)


async def test_listeners_share_one_subscription_and_free_it_at_once(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client)
    url = f"/v1/runs/{run_id}/events"
    async with client.stream("GET", url) as first, client.stream("GET", url) as second:
        streams = [read_events(response) for response in (first, second)]
        assert [(await anext(stream))[0] for stream in streams] == ["progress", "progress"]
        assert await subscriptions(queue, run_id) == 1
    async with asyncio.timeout(2):
        while await subscriptions(queue, run_id):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_thousand_turns_a_second_reach_every_listener(
    api: Process, client: httpx.AsyncClient, queue: Queue
) -> None:
    run_id = await submit(client)
    assert api.popen is not None
    process = psutil.Process(api.popen.pid)
    messages = [f"0 {number} {said('word ' * 50)}" for number in range(3000)]

    async def listen(begun: asyncio.Event) -> list[int]:
        seen: list[int] = []
        async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
            async for name, data in read_events(response):
                if name == "progress":
                    begun.set()
                if name == "turn":
                    seen.append(data["turn_index"])
                if len(seen) == len(messages):
                    return seen
        raise AssertionError("the stream ended")

    begun = [asyncio.Event() for _ in range(3)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(listen(event)) for event in begun]
        for event in begun:
            await event.wait()
        before, started = process.cpu_times(), time.monotonic()
        for number, message in enumerate(messages):
            await queue._redis.publish(queue.key("events", run_id), message)
            ahead_s = number / 1000 - (time.monotonic() - started)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
    assert [task.result() for task in tasks] == [list(range(3000))] * 3
    used_s = sum(process.cpu_times()[:2]) - sum(before[:2])
    took_s = time.monotonic() - started
    assert used_s < 0.7 * took_s, f"{used_s:.2f} s of a core in {took_s:.2f} s"


async def test_open_streams_do_not_hold_up_the_end(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url).start()
    async with httpx.AsyncClient(base_url=url_of(process), timeout=30) as client:
        run_id = await submit(client)
        async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
            events = read_events(response)
            assert (await anext(events))[0] == "progress"
            started = time.monotonic()
            ending = asyncio.create_task(asyncio.to_thread(process.end))
            with contextlib.suppress(httpx.RemoteProtocolError):
                assert [name async for name, _ in events if name != "progress"] == []
            await ending
            assert time.monotonic() - started < 3
    assert "Traceback" not in process.log.read_text()


# access, size, health


def test_keys(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, api_keys=KEY, host="0.0.0.0").start()
    try:
        url = url_of(process)
        key = {"Authorization": f"Bearer {KEY}"}
        for path, without, with_key in [
            ("/healthz", 200, 200),
            ("/readyz", 200, 200),
            ("/v1/runs", 401, 200),
            ("/docs", 401, 200),
            ("/openapi.json", 401, 200),
            ("/metrics", 401, 200),
        ]:
            assert httpx.get(url + path).status_code == without, path
            assert httpx.get(url + path, headers=key).status_code == with_key, path
    finally:
        process.end()


def test_a_public_address_without_a_key_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, host="0.0.0.0")
    with pytest.raises(AssertionError, match=r"error: 0\.0\.0\.0 can be reached from other .* PLATOLM_API_API_KEYS"):
        process.start()
    assert process.popen is not None
    assert process.popen.returncode == 2


def test_settings_that_cannot_be_used(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url, api_keys="short", allowed_outputs="nowhere", crash_at="x:1")
    with pytest.raises(AssertionError) as caught:
        process.start()
    lines = str(caught.value).splitlines()
    assert [line.split(" ")[1] for line in lines if line.startswith("error: ")] == [
        "PLATOLM_API_API_KEYS:",
        "PLATOLM_API_ALLOWED_OUTPUTS:",
    ]


async def test_a_large_submission_leaves_the_api_responsive(api: Process, client: httpx.AsyncClient) -> None:
    seeds = [{"question": f"How do I {'word ' * 36}{i}?", "line": i + 1} for i in range(100_000)]
    content = json.dumps({**body(1_000_000, seed_mode="question"), "seeds": seeds}).encode()
    assert len(content) > 20_000_000
    waits, done = [], threading.Event()

    def look() -> None:
        with httpx.Client(base_url=url_of(api)) as watcher:
            while not done.is_set():
                started = time.monotonic()
                watcher.get("/healthz")
                waits.append(time.monotonic() - started)
                time.sleep(0.005)

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        started = time.monotonic()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        response = await client.post("/v1/runs", content=gzip.compress(content, 1), headers=headers)
        took_s = time.monotonic() - started
        done.set()
        looking.result()
    assert response.status_code == 201
    assert took_s < 60, "on a busy machine; alone it takes a tenth of that"
    assert sorted(waits)[int(len(waits) * 0.95)] < 0.1, f"longest {max(waits):.3f} s"


async def test_a_large_submission_that_is_wrong(client: httpx.AsyncClient) -> None:
    seeds = [{"question": "x" * 100} for _ in range(20_000)]
    seeds[7] = {"query": "x" * 100}
    response = await client.post("/v1/runs", json={**body(seed_mode="question", sed=1), "seeds": seeds})
    assert response.status_code == 422
    assert [problem["loc"] for problem in response.json()["detail"]] == [
        ["body", "spec", "sed"],
        ["body", "seeds", 7, "query"],
    ]


async def test_a_body_beyond_the_limit(client: httpx.AsyncClient) -> None:
    bomb = gzip.compress(b" " * (65 * 2**20))
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    response = await client.post("/v1/runs", content=bomb, headers=headers)
    assert (response.status_code, "67108864 bytes" in response.json()["detail"]) == (413, True)


async def test_a_client_that_leaves_in_mid_body(api: Process, client: httpx.AsyncClient) -> None:
    host, port = url_of(api).removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    writer.write(
        b"POST /v1/runs HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99999\r\n\r\n{"
    )
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    assert (await client.get("/healthz")).status_code == 200
    assert "Traceback" not in api.log.read_text()


def test_redis_away_is_said_and_passes(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    server.start()
    process = api_process(tmp_path, server.url).start()
    try:
        server.kill()
        for path in ("/readyz", "/v1/runs"):
            response = httpx.get(url_of(process) + path)
            assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        assert httpx.get(url_of(process) + "/healthz").status_code == 200
        server.start()
        wait_until(lambda: httpx.get(process.ready_url).status_code == 200, what="ready again")
    finally:
        process.end()
        server.stop()
