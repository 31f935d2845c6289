"""Asking a stack over its socket: what reaches it, what comes back, and who may ask."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Mapping
from pathlib import Path

import pytest

from platolm.errors import InputError, StackError
from platolm.stack.control import SOCKET_NAME, ReplaceRequest, ask_to_replace, control_socket
from platolm.stack.local import LocalStack
from platolm.stack.settings import LocalStackSettings

BETA = ReplaceRequest(models={"simulator": "beta"}, in_place=True)


class ReplacedStack(LocalStack):
    """Notes what it is asked for; `error` is what comes of it, `gate` what it waits for."""

    def __init__(self, settings: LocalStackSettings) -> None:
        super().__init__(settings, planner=lambda _: [])
        self.asked: list[tuple[dict[str, str], bool]] = []
        self.error: Exception | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.begun, self.finished = asyncio.Event(), asyncio.Event()

    async def replace(self, models: Mapping[str, str], *, in_place: bool = False) -> None:
        self.asked.append((dict(models), in_place))
        self.begun.set()
        await self.gate.wait()
        self.finished.set()
        if self.error is not None:
            raise self.error


@pytest.fixture
def stack(tmp_path: Path) -> ReplacedStack:
    folder = tmp_path / ("a-long-name-" * 12)  # a socket's own path may have 107 bytes
    folder.mkdir()
    return ReplacedStack(LocalStackSettings(data_dir=folder, simulator_model="a", respondent_model="b"))


async def test_a_request_reaches_the_stack(stack: ReplacedStack) -> None:
    folder = stack.settings.data_dir
    (folder / SOCKET_NAME).touch()  # what a killed stack leaves
    async with control_socket(stack):
        assert stat.S_IMODE((folder / SOCKET_NAME).stat().st_mode) == 0o600
        await ask_to_replace(folder, BETA)
    assert stack.asked == [({"simulator": "beta"}, True)]
    assert not (folder / SOCKET_NAME).exists()


async def test_errors_come_back_as_they_were(stack: ReplacedStack) -> None:
    async with control_socket(stack):
        stack.error = StackError("it did not come up", log_tail=["no", "memory"])
        with pytest.raises(StackError, match="it did not come up") as caught:
            await ask_to_replace(stack.settings.data_dir, BETA)
        assert caught.value.log_tail == ("no", "memory")
        stack.error = InputError("another tokenizer")
        with pytest.raises(InputError, match="another tokenizer"):
            await ask_to_replace(stack.settings.data_dir, BETA)


async def test_nonsense_is_answered(stack: ReplacedStack) -> None:
    async with control_socket(stack):
        reader, writer = await asyncio.open_unix_connection(f"{await _link(stack)}/{SOCKET_NAME}")
        writer.write(b'{"models": {"redis": "x"}}\n')
        assert b"the stack cannot read this request" in await reader.readline()
        writer.close()
    assert stack.asked == []


async def test_an_asker_that_leaves_stops_nothing(stack: ReplacedStack) -> None:
    stack.gate.clear()
    async with control_socket(stack):
        asking = asyncio.create_task(ask_to_replace(stack.settings.data_dir, BETA))
        await stack.begun.wait()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        stack.gate.set()
        await stack.finished.wait()


async def test_a_stack_that_ends_meanwhile(stack: ReplacedStack) -> None:
    stack.gate.clear()
    async with control_socket(stack):
        asking = asyncio.create_task(ask_to_replace(stack.settings.data_dir, BETA))
        await stack.begun.wait()
    with pytest.raises(StackError, match="ended before it had replaced"):
        await asking
    with pytest.raises(InputError, match="no stack runs on"):
        await ask_to_replace(stack.settings.data_dir, BETA)


async def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no stack runs on .*start one with `platolm up`"):
        await ask_to_replace(tmp_path / "none", BETA)


async def _link(stack: ReplacedStack) -> Path:
    """A short way to its folder."""
    link = stack.settings.data_dir.parent / "x"
    link.symlink_to(stack.settings.data_dir)
    return link
