"""Models replaced under a run: real Redis, API and worker, stand-ins for the model servers."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.errors import InputError, StackError
from platolm.stack.local import LocalStack
from platolm.stack.plan import RESPONDENT, SIMULATOR, ProcessPlan, plan
from platolm.stack.settings import LocalStackSettings
from tests.integration.stack.conftest import processes_with

CONVERSATIONS, TURNS = 30, 20


def planner(settings: LocalStackSettings) -> list[ProcessPlan]:
    """The real plans, a stand-in in the place of each model server."""
    return [
        dataclasses.replace(one, argv=(sys.executable, "-m", "tests.integration.stack.model_server", one.name))
        if one.name in (SIMULATOR, RESPONDENT)
        else one
        for one in plan(settings)
    ]


@pytest.fixture
def models(tmp_path: Path, byte_tokenizer_folder: Path) -> Callable[[str], str]:
    """The folder of a model of that name, made when it is first asked for."""

    def folder(name: str) -> str:
        path = tmp_path / "models" / name
        if not path.exists():
            shutil.copytree(byte_tokenizer_folder, path)
        return str(path)

    return folder


@pytest.fixture
def served(settings: LocalStackSettings, models: Callable[[str], str]) -> LocalStackSettings:
    return settings.model_copy(update={"simulator_model": models("alpha"), "respondent_model": models("answers")})


@dataclasses.dataclass
class Run:
    """A run at the stack's API."""

    api: httpx.AsyncClient
    id: str

    @classmethod
    async def submit(cls, api: httpx.AsyncClient) -> Run:
        spec = {"conversations": CONVERSATIONS, "endings": {"max_turns": TURNS, "repetition": False}}
        answer = await api.post("/v1/runs", json={"spec": spec})
        return cls(api, answer.raise_for_status().json()["id"])

    async def until(self, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        while True:
            progress: dict[str, Any] = (await self.api.get(f"/v1/runs/{self.id}")).raise_for_status().json()
            if reached(progress):
                return progress
            await asyncio.sleep(0.05)

    async def records(self) -> list[dict[str, Any]]:
        """Of the completed run, which lost nothing."""
        progress = await self.until(lambda progress: progress["state"] == "completed")
        assert (progress["dead"], progress["committed"]) == (0, CONVERSATIONS)
        dataset = (await self.api.get(f"/v1/runs/{self.id}/dataset")).raise_for_status().content
        records = [json.loads(line) for line in dataset.splitlines()]
        assert sorted(record["index"] for record in records) == list(range(CONVERSATIONS))
        assert all(len(record["conversations"]) == TURNS for record in records)
        return records


def speakers(record: dict[str, Any], role: str) -> list[str]:
    """The models that said a side's utterances, in order, neighbours counted once."""
    words = [turn["value"].split()[0] for turn in record["conversations"] if turn["from"] == role]
    return [name for name, _ in groupby(words)]


def num_answered_twice(*folders: str) -> int:
    lines = [line for folder in folders for line in (Path(folder) / "answered.log").read_text().splitlines()]
    return len(lines) - len(set(lines))


@asynccontextmanager
async def watched(port: int) -> AsyncIterator[list[str]]:
    """What a new connection to a public port gets, again and again: the model's name, or nothing."""
    seen: list[str] = []

    async def ask() -> None:
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                seen.append((await client.get(f"http://127.0.0.1:{port}/readyz")).text)
        except httpx.TransportError:
            seen.append("")

    async def go_on_asking() -> None:
        while True:
            await ask()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(go_on_asking())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await ask()


@asynccontextmanager
async def running(settings: LocalStackSettings) -> AsyncIterator[tuple[LocalStack, httpx.AsyncClient]]:
    async with (
        LocalStack(settings, planner=planner) as stack,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{settings.api_port}", trust_env=False, timeout=30) as api,
    ):
        yield stack, api


@pytest.mark.slow
async def test_a_run_goes_on_through_two_replacements(
    served: LocalStackSettings, models: Callable[[str], str], mark: str
) -> None:
    async with running(served) as (stack, api):
        run = await Run.submit(api)
        await run.until(lambda progress: progress["utterances"] > 2 * CONVERSATIONS)
        async with watched(served.simulator_port) as first:
            await stack.guarding(stack.replace({SIMULATOR: models("beta")}))
        async with watched(served.simulator_port) as second:
            await stack.guarding(stack.replace({SIMULATOR: models("gamma")}))
        records = await run.records()
    assert [name for name, _ in groupby(first) if name] == ["alpha", "beta"]
    assert first.count("") <= 300, "the port is without a listener for some seconds at most, not for an engine's start"
    assert [name for name, _ in groupby(second)] == ["beta", "gamma"]
    for record in records:
        assert speakers(record, "gpt") == ["answers"]
        assert speakers(record, "human")[0] == "alpha"
    assert any(speakers(record, "human") == ["alpha", "beta", "gamma"] for record in records)
    assert num_answered_twice(*map(models, ("alpha", "beta", "gamma", "answers"))) == 0
    assert processes_with(mark) == []


@pytest.mark.slow
async def test_a_run_goes_on_through_a_replacement_in_place(
    served: LocalStackSettings, models: Callable[[str], str], mark: str
) -> None:
    async with running(served) as (stack, api):
        run = await Run.submit(api)
        await run.until(lambda progress: progress["utterances"] > 2 * CONVERSATIONS)
        async with watched(served.respondent_port) as other:
            await stack.guarding(stack.replace({SIMULATOR: models("beta")}, in_place=True))
        records = await run.records()
        assert (await api.get(f"http://127.0.0.1:{served.simulator_engine_port}/readyz")).text == "beta"
    assert set(other) == {"answers"}
    assert any(speakers(record, "human") == ["alpha", "beta"] for record in records)
    assert num_answered_twice(*map(models, ("alpha", "beta", "answers"))) == 0
    assert processes_with(mark) == []


@pytest.mark.slow
@pytest.mark.parametrize("in_place", [False, True])
async def test_a_model_that_does_not_come_up_changes_nothing(
    served: LocalStackSettings, models: Callable[[str], str], mark: str, in_place: bool
) -> None:
    broken = models("broken")
    (Path(broken) / "broken").touch()
    async with running(served) as (stack, api):
        run = await Run.submit(api)
        await run.until(lambda progress: progress["utterances"] > 0)
        with pytest.raises(StackError, match="simulator ended with code 1") as caught:
            await stack.guarding(stack.replace({SIMULATOR: broken}, in_place=in_place))
        assert caught.value.log_tail == ("its weights are damaged",)
        assert (await api.get(f"http://127.0.0.1:{served.simulator_port}/readyz")).text == "alpha"
        assert {name for record in await run.records() for name in speakers(record, "human")} == {"alpha"}
    assert processes_with(mark) == []


async def test_another_tokenizer_is_refused_before_anything_is_started(
    served: LocalStackSettings, models: Callable[[str], str]
) -> None:
    other = Path(models("other"))
    config = json.loads((other / "tokenizer_config.json").read_text())
    (other / "tokenizer_config.json").write_text(json.dumps({**config, "eos_token": "<pad>"}))
    with pytest.raises(InputError, match=r"other has another tokenizer than .*alpha"):
        await LocalStack(served, planner=planner).replace({SIMULATOR: str(other)})
