"""Submitting runs: what is checked, and what repeats."""

from __future__ import annotations

import asyncio
import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from platolm.respondents import RESPONDENTS
from platolm.simulators import PROFILES as SIMULATORS
from services.orchestrator.engines.sides import SideDescription
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.runs import (
    ENDPOINTS,
    body,
    submit,
    url_of,
)
from tests.integration.orchestrator.processes import api_process
from tests.redis_server import RedisServer


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
        {
            "loc": ["body", "spec", "simulator", "profile"],
            "msg": f"'plato' is no profile; there are {', '.join([*SIMULATORS, *RESPONDENTS])}",
        },
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
