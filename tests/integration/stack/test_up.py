"""`platolm up` itself: the whole stack over real engines, once."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import openai
import psutil
import pytest

from platolm.stack.control import ReplaceRequest, ask_to_replace
from platolm.stack.settings import PORT_FIELDS, LocalStackSettings, flag_of
from tests.integration.gateway.conftest import write_tiny_model
from tests.integration.stack.conftest import eventually, processes_with
from tests.integration.stack.test_replacement import watched

UP = """
import sys
import typer
from platolm.cli.console import print_error
from platolm.cli.up import up
from platolm.errors import PlatoLMError
app = typer.Typer()
app.command()(up)
try:
    app()
except PlatoLMError as error:
    sys.exit(print_error(error))
"""


def flags(settings: LocalStackSettings, **more: Any) -> list[str]:
    values = {name: getattr(settings, name) for name in PORT_FIELDS} | {"data_dir": settings.data_dir} | more
    return [part for name, value in values.items() for part in (flag_of(name), str(value))]


def start_up(arguments: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", UP, *arguments], stderr=subprocess.PIPE, text=True, start_new_session=True
    )


@pytest.fixture
def vllm_installed() -> None:
    if importlib.util.find_spec("vllm") is None:
        pytest.skip("vLLM is not installed")


async def replaced(settings: LocalStackSettings, model: str) -> list[str]:
    """Replace the simulator's model; what its public port gave meanwhile."""
    async with watched(settings.simulator_port) as seen:
        await ask_to_replace(settings.data_dir, ReplaceRequest(models={"simulator": model}))
    return seen


@pytest.mark.vllm
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_up_serves_and_ctrl_c_stops_it(
    vllm_installed: None, settings: LocalStackSettings, tmp_path: Path, mark: str
) -> None:
    write_tiny_model(tmp_path / "tiny")
    process = start_up(flags(settings, simulator_model=tmp_path / "tiny", respondent_model=tmp_path / "tiny"))
    lines: list[str] = []
    assert process.stderr is not None
    for line in process.stderr:
        lines.append(line)
        if "Ctrl-C stops everything" in line:
            break
    text = "".join(lines)
    assert "worker ready" in text, text
    assert f"http://127.0.0.1:{settings.api_port}" in text
    assert httpx.get(f"http://127.0.0.1:{settings.api_port}/readyz", trust_env=False).status_code == 200
    with openai.OpenAI(base_url=f"http://127.0.0.1:{settings.simulator_port}/v1", api_key="none") as client:
        reply = client.chat.completions.create(model="socratic", messages=[], max_tokens=3)
        assert reply.usage is not None
        assert reply.usage.completion_tokens <= 3
        write_tiny_model(tmp_path / "other")
        seen = asyncio.run(replaced(settings, str(tmp_path / "other")))
        assert client.chat.completions.create(model="socratic", messages=[], max_tokens=3).usage is not None
    assert seen.count("") <= 300, "the port is without a listener for some seconds at most, not for an engine's start"
    commands = [" ".join(psutil.Process(pid).cmdline()) for pid in processes_with(mark)]
    num_with = {name: sum(f"--model {tmp_path / name} " in one for one in commands) for name in ("tiny", "other")}
    assert num_with["tiny"] == num_with["other"] > 0, "one engine of each, its guard beside it"
    os.killpg(process.pid, signal.SIGINT)
    rest = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, rest
    assert "Stopped" in rest
    assert processes_with(mark) == []


def test_ctrl_c_while_starting(settings: LocalStackSettings, tmp_path: Path, mark: str) -> None:
    (tmp_path / "model").mkdir()
    process = start_up(flags(settings, simulator_model=tmp_path / "model", respondent_model=tmp_path / "model"))
    assert process.stderr is not None
    assert process.stderr.readline()
    os.killpg(process.pid, signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (0, 1)  # 1 where the empty model folder was found first
    eventually(lambda: processes_with(mark) == [])


def test_a_model_folder_that_is_none(settings: LocalStackSettings, tmp_path: Path, mark: str) -> None:
    process = start_up(flags(settings, simulator_model=tmp_path / "none", respondent_model=tmp_path / "none"))
    _, text = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "is not a folder" in text
    assert "ended with code 2" in text
    assert processes_with(mark) == []


def test_misuse(settings: LocalStackSettings) -> None:
    process = start_up([*flags(settings), "--simulator-port", str(settings.api_port)])
    _, text = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"error: two processes were given port {settings.api_port}" in text
