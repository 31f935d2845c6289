"""Real engines for benchmarks: started without gateways, warmed up, read, stopped."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import Annotated

import aiohttp
import httpx
import psutil
import typer

from benchmarks.cores import Cores, engine_threads, pinned_to
from benchmarks.counters import CacheShape, Counters, read_cache_shape, read_counters, total
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError, StackError
from platolm.stack.child import ChildProcess, Command
from platolm.stack.ready import is_ready
from services.gateway.engine import EngineBuild, engine_command, installed_build
from services.gateway.settings import GatewaySettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.redis_server import free_port

ROLES = (USER, ASSISTANT)
START_TIMEOUT_S = 600.0
_SETTINGS: Mapping[str, type[GatewaySettings]] = {USER: SimulatorSettings, ASSISTANT: RespondentSettings}
_POLL_S = 0.5
_GPU_SHARE = 0.9
_WARM_UP_REQUESTS, _WARM_UP_PROMPT, _WARM_UP_OUTPUT = 8, 64, 32
_WARM_UP_IDS = range(10, 250)  # of any tokenizer: control tokens lie below


class Device(StrEnum):
    """What the models run on."""

    CPU = "cpu"
    CUDA = "cuda"


DeviceOption = Annotated[Device, typer.Option(help="What the models run on; cuda needs vLLM's GPU build.")]
SimulatorOption = Annotated[str | None, typer.Option("--simulator", help="Model folder; default: the demo model.")]
RespondentOption = Annotated[str | None, typer.Option("--respondent", help="Model folder; default: the demo model.")]
KvCacheOption = Annotated[int, typer.Option(min=1, help="KV cache of each engine in GiB, without a GPU.")]


@dataclass(frozen=True)
class Served:
    """What a benchmark's engines serve: a model for each role, `replicas` engines of each."""

    models: Mapping[str, str]
    device: Device = Device.CPU
    kv_cache_gib: int = 1
    replicas: int = 1
    resettable: bool = False
    """Whether `Engine.reset_cache` works."""

    def settings(self, role: str, cores: Cores, folder: Path) -> GatewaySettings:
        """One engine's, on a port that is free now."""
        port = free_port()
        return _SETTINGS[role](
            model=self.models[role],
            engine_port=port,
            engine_threads=engine_threads(cores.of_engine(role)),
            engine_log=folder / f"engine-{port}.log",
            kv_cache_gib=self.kv_cache_gib,
            gpu_memory_utilization=_GPU_SHARE / (len(ROLES) * self.replicas),
        )

    @property
    def build(self) -> EngineBuild:
        return EngineBuild.GPU if self.device is Device.CUDA else EngineBuild.CPU


def served(
    simulator: str | None, respondent: str | None, device: Device, *, kv_cache_gib: int = 1, replicas: int = 1
) -> Served:
    """Two models, by default the demo pair; replicas' caches can be reset.

    Raises:
        InputError: a model is not named and there is no demo model, or the installed vLLM is another build.
        StartError: no vLLM is installed.
    """
    models = {USER: simulator or SimulatorSettings().model, ASSISTANT: respondent or RespondentSettings().model}
    named = {role: model for role, model in models.items() if model is not None}
    if len(named) < len(models):
        raise InputError("there are no demo models here: name two with --simulator and --respondent")
    what = Served(named, device, kv_cache_gib, replicas, resettable=replicas > 1)
    if installed_build() is not what.build:
        raise InputError(f"the installed vLLM is not its {what.build} build, which --device {device} needs")
    return what


class Engine:
    """One running engine of a role; `url` ends in `/v1`."""

    def __init__(self, role: str, settings: GatewaySettings, process: ChildProcess) -> None:
        self.role = role
        self.model = settings.served_model_name
        self.root = settings.engine_base_url
        self.url = f"{self.root}/v1"
        self._process = process
        self._last = Counters()

    @classmethod
    async def start(cls, role: str, what: Served, cores: Cores, folder: Path) -> Engine:
        """Start the process; `until_ready` waits for it."""
        settings = what.settings(role, cores, folder)
        command = engine_command(settings, what.build)
        env = {**command.env, **({"VLLM_SERVER_DEV_MODE": "1"} if what.resettable else {})}
        with pinned_to(cores.of_engine(role)):
            process = await ChildProcess.start(Command(command.argv, env, command.log_path, command.grace_s))
        return cls(role, settings, process)

    async def until_ready(self) -> None:
        """Wait until it answers.

        Raises:
            StackError: it died, or is not there in time.
        """
        async with httpx.AsyncClient(trust_env=False) as client:
            deadline = asyncio.get_running_loop().time() + START_TIMEOUT_S
            while not await is_ready(f"{self.root}/health", client):
                if self._process.returncode is not None or asyncio.get_running_loop().time() > deadline:
                    raise StackError(
                        f"the engine at {self.root} did not start; its log is {self._process.command.log_path}",
                        log_tail=self._process.log_tail(),
                    )
                await asyncio.sleep(_POLL_S)

    async def counters(self) -> Counters:
        """As it counts now; of an engine that was killed, as it was last read."""
        if self._process.returncode is None:
            self._last = read_counters(await self._metrics())
        return self._last

    def processor_s(self) -> float:
        """Processor seconds of all its processes: while it works on a core of its own, they pass as the clock does."""
        guard = psutil.Process(self._process.pid)
        times = [one.cpu_times() for one in (guard, *guard.children(recursive=True))]
        return sum(one.user + one.system for one in times)

    async def cache_shape(self) -> CacheShape:
        return read_cache_shape(await self._metrics())

    async def reset_cache(self) -> None:
        """Forget all prefixes.

        Raises:
            StackError: a request still holds blocks.
        """
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = (await client.post(f"{self.root}/reset_prefix_cache", timeout=60)).raise_for_status().json()
        if not answer["success"]:
            raise StackError(f"the engine at {self.root} still works on something")

    async def kill(self) -> None:
        """SIGKILL, right after its counters were read."""
        await self.counters()
        await self._process.kill()

    async def stop(self) -> None:
        await self._process.stop()

    async def _metrics(self) -> str:
        async with httpx.AsyncClient(trust_env=False) as client:
            return (await client.get(f"{self.root}/metrics", timeout=60)).raise_for_status().text


@asynccontextmanager
async def running_engines(what: Served, cores: Cores, folder: Path) -> AsyncIterator[list[Engine]]:
    """Engines of both roles, ready and warm, their caches empty of anything that a conversation says.

    On a GPU one starts after the other: each measures the memory that it finds free.

    Raises:
        StackError: one did not come up.
    """
    engines: list[Engine] = []
    try:
        for role in what.replicas * ROLES:
            engines.append(await Engine.start(role, what, cores, folder))
            if what.device is Device.CUDA:
                await engines[-1].until_ready()
        await asyncio.gather(*(engine.until_ready() for engine in engines))
        await warm_up(engines)
        yield engines
    finally:
        await asyncio.gather(*(engine.stop() for engine in engines))


async def warm_up(engines: Iterable[Engine]) -> None:
    """A few requests of random ids to each engine, all at once."""
    ids = partial(random.Random(0).choices, _WARM_UP_IDS, k=_WARM_UP_PROMPT)
    forced = {"max_tokens": _WARM_UP_OUTPUT, "ignore_eos": True, "temperature": 0.7}
    async with aiohttp.ClientSession(raise_for_status=True) as session:

        async def ask(engine: Engine) -> None:
            body = {"model": engine.model, "prompt": ids(), "seed": 1, **forced}
            async with session.post(f"{engine.url}/completions", json=body) as response:
                await response.read()

        await asyncio.gather(*(ask(engine) for engine in engines for _ in range(_WARM_UP_REQUESTS)))


async def read_all(engines: Sequence[Engine]) -> Counters:
    """The sum over engines."""
    return total(await asyncio.gather(*(engine.counters() for engine in engines)))


def urls_by_role(engines: Iterable[Engine]) -> dict[str, list[str]]:
    """Engines' URLs, in their order."""
    urls: dict[str, list[str]] = {role: [] for role in ROLES}
    for engine in engines:
        urls[engine.role].append(engine.url)
    return urls
