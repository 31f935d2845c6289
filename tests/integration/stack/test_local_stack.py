"""The supervision of a local stack, with real processes and a real Redis."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from platolm.errors import StackError
from platolm.stack import checks
from platolm.stack.child import ChildProcess, Command
from platolm.stack.local import LocalStack
from platolm.stack.plan import REDIS, ProcessPlan, plan
from platolm.stack.process import ProcessState, ProcessStatus
from platolm.stack.settings import LocalStackSettings
from tests.integration.stack.conftest import MakePlan, eventually, processes_with


def redis_plan(settings: LocalStackSettings) -> ProcessPlan:
    return next(one for one in plan(settings) if one.name == REDIS)


async def ask(url: str) -> int:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            return (await client.get(url)).status_code
        except httpx.TransportError:
            return 0


async def test_starts_in_order_and_stops_without_orphans(
    settings: LocalStackSettings, stand_in: MakePlan, mark: str
) -> None:
    seen: list[ProcessStatus] = []
    plans = [redis_plan(settings), stand_in("one", after=(REDIS,)), stand_in("two", after=("one",))]
    async with LocalStack(settings, planner=lambda _: plans, on_change=seen.append):
        for one in plans[1:]:
            assert await ask(one.ready_url) == 200
        assert len(processes_with(mark)) == 3 + 3 + 2  # commands, guards, the stand-ins' own children
    assert processes_with(mark) == []
    order = [(status.name, status.state) for status in seen]
    assert order.index((REDIS, ProcessState.READY)) < order.index(("one", ProcessState.STARTING))
    assert order.index(("one", ProcessState.READY)) < order.index(("two", ProcessState.STARTING))
    stopped = [name for name, state in order if state is ProcessState.STOPPED]
    assert stopped == ["two", "one", REDIS]


async def test_redis_keeps_what_it_acknowledged(settings: LocalStackSettings, mark: str) -> None:
    from redis.asyncio import Redis

    plans = [redis_plan(settings)]
    url = plans[0].ready_url + "/0"
    async with LocalStack(settings, planner=lambda _: plans), Redis.from_url(url) as redis:
        assert (await redis.config_get("appendonly"))["appendonly"] == "yes"
        assert (await redis.config_get("save"))["save"] == ""
        await redis.set("kept", "1")
    async with LocalStack(settings, planner=lambda _: plans), Redis.from_url(url) as redis:
        assert await redis.get("kept") == b"1"
    assert (settings.data_dir / "redis").is_dir()


async def test_a_death_ends_the_watch_with_the_log(settings: LocalStackSettings, stand_in: MakePlan, mark: str) -> None:
    one = stand_in("one")
    async with LocalStack(settings, planner=lambda _: [one]) as stack:
        await ask(one.ready_url + "die")
        with pytest.raises(StackError, match="one ended with code 3") as caught:
            await stack.watch()
    assert caught.value.log_tail[-1] == "about to die"
    assert processes_with(mark) == []


async def test_what_may_be_restarted_is_restarted(settings: LocalStackSettings, stand_in: MakePlan, mark: str) -> None:
    one = stand_in("one", max_restarts=1)
    ready: asyncio.Queue[str] = asyncio.Queue()

    def note(status: ProcessStatus) -> None:
        if status.state is ProcessState.READY:
            ready.put_nowait(status.name)

    async with LocalStack(settings, planner=lambda _: [one], on_change=note) as stack:
        await ready.get()
        await ask(one.ready_url + "die")
        await ready.get()
        assert await ask(one.ready_url) == 200
        await ask(one.ready_url + "die")
        with pytest.raises(StackError, match="one ended with code 3"):
            await stack.watch()


async def test_a_failed_start_stops_the_rest(settings: LocalStackSettings, stand_in: MakePlan, mark: str) -> None:
    one, broken = (
        stand_in("one"),
        dataclasses.replace(
            stand_in("broken", max_restarts=3), argv=(sys.executable, "-c", "print('no luck'); raise SystemExit(4)")
        ),
    )
    with pytest.raises(StackError, match="broken ended with code 4") as caught:
        async with LocalStack(settings, planner=lambda _: [one, broken]):
            pytest.fail("entered")
    assert caught.value.log_tail == ("no luck",)
    assert processes_with(mark) == []


async def test_a_start_that_takes_too_long(settings: LocalStackSettings, stand_in: MakePlan, mark: str) -> None:
    silent = dataclasses.replace(stand_in("silent"), ready_url="http://127.0.0.1:9/")
    short = settings.model_copy(update={"startup_timeout_s": 1.0})
    with pytest.raises(StackError, match="silent was not ready within 1 s") as caught:
        async with LocalStack(short, planner=lambda _: [silent]):
            pytest.fail("entered")
    assert caught.value.log_tail == ("serving",)
    assert processes_with(mark) == []


async def test_all_ports_in_use_are_named_at_once(settings: LocalStackSettings, mark: str) -> None:
    busy = [settings.api_port, settings.redis_port]
    with socket.socket() as first, socket.socket() as second:
        for sock, port in zip((first, second), busy, strict=True):
            sock.bind(("127.0.0.1", port))
            sock.listen()
        with pytest.raises(StackError) as caught:
            async with LocalStack(settings):
                pytest.fail("entered")
    message = str(caught.value)
    assert "\n" not in message
    for words in (*map(str, busy), "--api-port", "--redis-port"):
        assert words in message
    assert processes_with(mark) == []


async def test_one_stack_a_folder(settings: LocalStackSettings, stand_in: MakePlan) -> None:
    one, two, three = (stand_in(name) for name in ("one", "two", "three"))
    async with LocalStack(settings, planner=lambda _: [one]):
        with pytest.raises(StackError, match=f"already running on .*process {os.getpid()}"):
            async with LocalStack(settings, planner=lambda _: [two]):
                pytest.fail("entered")
    async with LocalStack(settings, planner=lambda _: [three]):
        pass


async def test_a_folder_that_cannot_be_written(settings: LocalStackSettings, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        with pytest.raises(StackError, match="choose another with --data-dir"):
            async with LocalStack(settings.model_copy(update={"data_dir": folder}), planner=lambda _: []):
                pytest.fail("entered")


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "MIN_FREE_BYTES", 2**60)
    with pytest.raises(StackError, match="MiB left on its disk"):
        checks.check_data_dir(tmp_path)


async def test_stop_kills_what_ignores_sigterm(tmp_path: Path, mark: str) -> None:
    code = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
    )
    for end in (ChildProcess.stop, ChildProcess.kill):
        grace_s = 0.5 if end is ChildProcess.stop else 600
        log_path = tmp_path / "log"
        child = await ChildProcess.start(Command([sys.executable, "-c", code], log_path=log_path, grace_s=grace_s))
        while child.log_tail() != ["up"]:  # noqa: ASYNC110  another process writes it
            await asyncio.sleep(0.01)
        assert await end(child) == 128 + signal.SIGKILL
        assert processes_with(mark) == []
    assert log_path.with_name("log.1").is_file()


async def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    child = await ChildProcess.start(Command(["/no/such/command"], log_path=tmp_path / "log"))
    assert await child.wait() == 127
    assert child.log_tail() == ["/no/such/command: No such file or directory"]


KILLED_STACK = """
import asyncio, pickle, sys
from platolm.stack.local import LocalStack
async def main():
    settings, plans = pickle.loads(bytes.fromhex(sys.argv[1]))
    async with LocalStack(settings, planner=lambda _: plans) as stack:
        print("up", flush=True)
        await stack.watch()
asyncio.run(main())
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_outlives_a_killed_stack(
    settings: LocalStackSettings, stand_in: MakePlan, mark: str, signal_number: signal.Signals
) -> None:
    import pickle

    packed = pickle.dumps((settings, [redis_plan(settings), stand_in("one")])).hex()
    with subprocess.Popen([sys.executable, "-c", KILLED_STACK, packed], stdout=subprocess.PIPE) as stack:
        assert stack.stdout is not None
        said, num_processes = stack.stdout.readline(), len(processes_with(mark))
        stack.send_signal(signal_number)
    assert said == b"up\n"
    assert num_processes == 1 + 2 + 2 + 1  # the stack, two guards, two commands, the stand-in's own child
    eventually(lambda: processes_with(mark) == [])
