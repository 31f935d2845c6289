"""`platolm up --shared-engine`'s stack over one real engine: both gateways, and a run."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from benchmarks.sharing import Pair
from platolm.conversation import ASSISTANT, USER
from platolm.stack.local import LocalStack
from platolm.stack.settings import PORT_FIELDS, LocalStackSettings
from tests.integration.stack.conftest import free_ports

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(900)]

CONVERSATIONS, RUN_TIMEOUT_S = 8, 120


@pytest.fixture
def settings(pair: Pair, tmp_path: Path) -> LocalStackSettings:
    ports: dict[str, Any] = dict(zip(PORT_FIELDS, free_ports(len(PORT_FIELDS)), strict=True))
    return LocalStackSettings(
        data_dir=tmp_path / "data",
        shared_engine=True,
        base_model=pair.base,
        simulator_model=str(pair.adapters[USER].folder),
        respondent_model=str(pair.adapters[ASSISTANT].folder),
        startup_timeout_s=400,
        **ports,
    )


async def test_one_engine_serves_gateways_and_runs(settings: LocalStackSettings) -> None:
    others = engines()
    async with LocalStack(settings) as stack, httpx.AsyncClient(trust_env=False, timeout=60) as client:
        assert await stack.guarding(greeted(client, settings.simulator_port)) == ("socratic", 1024)
        assert await stack.guarding(greeted(client, settings.respondent_port)) == ("platolm", 1024)
        progress = await stack.guarding(completed_run(client, settings.api_port))
        assert (progress["finished"], progress["dead"], progress["warnings"]) == (CONVERSATIONS, 0, [])
        assert len(engines() - others) == 1
        metrics = (await client.get(f"http://127.0.0.1:{settings.simulator_engine_port}/metrics")).text
        assert "socratic" in metrics
        assert "platolm" in metrics


async def greeted(client: httpx.AsyncClient, port: int) -> tuple[str, int]:
    """What a gateway says it serves, after it has generated something; its model and context length."""
    url = f"http://127.0.0.1:{port}/v1"
    [card] = (await client.get(f"{url}/models")).raise_for_status().json()["data"]
    messages = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    body = {"model": card["id"], "messages": messages[: 2 if card["id"] == "socratic" else 1], "max_tokens": 4}
    answer = (await client.post(f"{url}/chat/completions", json=body)).raise_for_status().json()
    assert answer["model"] == card["id"]
    return card["id"], card["max_model_len"]


async def completed_run(client: httpx.AsyncClient, port: int) -> dict[str, Any]:
    """The progress of a small run at its end."""
    spec = {
        "conversations": CONVERSATIONS,
        "simulator": {"profile": "socratic", "sampling": {"max_tokens": 8}},
        "respondent": {"profile": "platolm", "sampling": {"max_tokens": 8}},
        "endings": {"max_turns": 4, "user_ended": False, "repetition": False, "empty": False, "context_tokens": 1024},
    }
    url = f"http://127.0.0.1:{port}/v1/runs"
    run = (await client.post(url, json={"spec": spec})).raise_for_status().json()
    async with asyncio.timeout(RUN_TIMEOUT_S):
        while True:
            progress: dict[str, Any] = (await client.get(f"{url}/{run['id']}")).raise_for_status().json()
            if progress["state"] == "completed":
                return progress
            await asyncio.sleep(0.2)


def engines() -> set[int]:
    """vLLM servers below this process, by pid, their guards apart."""
    below = psutil.Process().children(recursive=True)
    return {process.pid for process in below if process.cmdline()[1:3] == ["-m", "vllm.entrypoints.openai.api_server"]}
