"""`platolm demo` with a fake stack: what it asks for, shows and leaves."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from platolm.cli import demo as demo_module
from platolm.cli.app import app
from platolm.errors import StackError
from platolm.seeds import OPENINGS_FILE
from platolm.spec import SeedMode
from platolm.stack.settings import LocalStackSettings
from tests.unit.cli.fake_api import FakeApi


class FakeStack:
    """A stack that is a fake API in the command's own loop; `fails` makes a process of it die."""

    def __init__(self, *, fails: bool = False) -> None:
        self.api: FakeApi | None = None
        self.given: dict[str, Any] = {}
        self._fails = fails

    @asynccontextmanager
    async def running(self, _settings: LocalStackSettings, _console: Console) -> AsyncIterator[FakeStack]:
        assert self.api is not None
        await self.api.start()
        try:
            yield self
        finally:
            await self.api.stop()

    async def watch(self) -> None:
        if self._fails:
            raise StackError("the worker died")
        await asyncio.Event().wait()

    def settings(self, **given: Any) -> LocalStackSettings:
        self.given = given
        self.api = FakeApi()
        return LocalStackSettings(api_port=int(self.api.url.rsplit(":", 1)[1]))


@pytest.fixture
def stack(monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    return use(FakeStack(), monkeypatch)


def use(stack: FakeStack, monkeypatch: pytest.MonkeyPatch) -> FakeStack:
    monkeypatch.setattr(demo_module, "settings_from", stack.settings)
    monkeypatch.setattr(demo_module, "running_stack", stack.running)
    return stack


def test_it_makes_64_short_dialogues_and_shows_three(stack: FakeStack, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert stack.api is not None
    spec = stack.api.only_run.request.spec
    assert (spec.conversations, spec.seed_mode, spec.endings.max_turns) == (64, SeedMode.FREE, 6)
    assert result.stdout.count("rounds · turn_limit") == 3
    assert "2/3 é ✓" in result.stdout
    assert "sharegpt.jsonl" in result.stdout
    assert len((tmp_path / "out" / "sharegpt.jsonl").read_text().splitlines()) == 64


def test_it_takes_openings(stack: FakeStack, tmp_path: Path) -> None:
    arguments = ["demo", "-n", "10", "--seeds", str(OPENINGS_FILE), "--out", str(tmp_path / "out")]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    assert stack.api is not None
    request = stack.api.only_run.request
    assert request.spec.seed_mode is SeedMode.QUESTION
    first = json.loads(OPENINGS_FILE.read_text().splitlines()[0])["question"]
    assert request.seeds[0].question == first


def test_both_sides_on_one_engine(stack: FakeStack, tmp_path: Path) -> None:
    for flags, given in (([], None), (["--shared-engine"], True)):
        assert CliRunner().invoke(app, ["demo", "-n", "2", "--out", str(tmp_path / str(given)), *flags]).exit_code == 0
        assert stack.given == {"shared_engine": given}, "None leaves it to PLATOLM_UP_SHARED_ENGINE"


def test_a_dead_process_ends_it_with_the_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use(FakeStack(fails=True), monkeypatch)
    result = CliRunner().invoke(app, ["demo", "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, StackError)
    assert "the worker died" in str(result.exception)
