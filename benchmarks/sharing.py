"""The same two adapters served in two ways, on one engine and on two, and dialogues between them by a bare client."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import orjson
import psutil

from benchmarks.cores import Cores, engine_threads, pinned_to
from benchmarks.counters import CacheShape
from benchmarks.engines import Engine, warm_up
from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile, Turn, prompt_ids
from platolm.engine_client import EngineClient, RequestBody, engine_session
from platolm.stack.adapters import Adapter, engine_args
from platolm.stack.child import ChildProcess
from platolm.tokenizer import HubTokenizer
from services.gateway.engine import engine_command, installed_build
from services.gateway.settings import GatewaySettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.redis_server import free_port

NAMES: Mapping[str, str] = {USER: SOCRATIC.name, ASSISTANT: PLATOLM.name}
"""What each role's adapter is called at its engine."""

_PROFILES: Mapping[str, DyadicProfile] = {USER: SOCRATIC, ASSISTANT: PLATOLM}
_KINDS: Mapping[str, type[GatewaySettings]] = {USER: SimulatorSettings, ASSISTANT: RespondentSettings}
_REQUEST_TIMEOUT_S = 600.0

Dialogue = list[list[int]]
"""The ids of each generated utterance, the first of them the respondent's."""


@dataclass(frozen=True)
class Pair:
    """A base, and the adapter of each role."""

    base: str
    adapters: Mapping[str, Adapter]


@dataclass(frozen=True)
class Resources:
    """What both ways have in all: KV cache without a GPU and a card's memory, halved where there are two engines."""

    cores: Cores
    folder: Path
    dtype: str | None = None
    kv_cache_gib: int = 2
    gpu_share: float = 0.9


@dataclass(frozen=True)
class Arrangement:
    """Engines that serve a pair; `by_role` are the engines that each role's requests go to."""

    by_role: Mapping[str, Engine]
    pids: frozenset[int]

    @property
    def engines(self) -> list[Engine]:
        return list({engine.url: engine for engine in self.by_role.values()}.values())

    async def cache(self) -> CacheShape:
        """All their KV caches together."""
        shapes = [await engine.cache_shape() for engine in self.engines]
        return replace(shapes[0], num_tokens=sum(shape.num_tokens for shape in shapes))

    def memory_mib(self) -> float:
        """What their processes hold, in MiB; on a GPU without what they hold there."""
        return sum(map(_memory_mib, self.pids))


@dataclass(frozen=True)
class Size:
    """How long dialogues are: `utterances` are generated after the opening, each of up to `max_tokens`."""

    utterances: int = 6
    max_tokens: int = 48


@asynccontextmanager
async def on_one_engine(pair: Pair, given: Resources) -> AsyncIterator[Arrangement]:
    """Both adapters beside one another, on all the cores of engines."""
    cores = given.cores.simulator | given.cores.respondent
    adapters = {name: pair.adapters[role] for role, name in NAMES.items()}
    async with _engine(USER, pair.base, adapters, given, cores) as (engine, pid):
        yield Arrangement(dict.fromkeys(NAMES, engine), frozenset({pid}))


@asynccontextmanager
async def on_two_engines(pair: Pair, given: Resources) -> AsyncIterator[Arrangement]:
    """The base twice, each with one adapter and half of everything."""
    half = replace(given, kv_cache_gib=max(1, given.kv_cache_gib // 2), gpu_share=given.gpu_share / 2)
    async with AsyncExitStack() as stack:
        engines, pids = {}, set()
        for role, name in NAMES.items():  # in turn: on a GPU an engine measures the memory that it finds free
            served = _engine(role, pair.base, {name: pair.adapters[role]}, half, given.cores.of_engine(role))
            engines[role], pid = await stack.enter_async_context(served)
            pids.add(pid)
        yield Arrangement(engines, frozenset(pids))


def _end_of(log: Path | None) -> str:
    return "" if log is None else log.read_text(encoding="utf-8", errors="replace")[-4000:]


@asynccontextmanager
async def _engine(
    role: str, base: str, adapters: Mapping[str, Adapter], given: Resources, cores: frozenset[int]
) -> AsyncIterator[tuple[Engine, int]]:
    """A ready, warm engine and its process id."""
    port = free_port()
    settings = _KINDS[role](
        model=base,
        served_model_name=next(iter(adapters)),  # for the warm-up; engine_args names the base
        engine_port=port,
        engine_threads=engine_threads(cores),
        engine_log=given.folder / f"engine-{port}.log",
        engine_args=engine_args(adapters),
        dtype=given.dtype,
        kv_cache_gib=given.kv_cache_gib,
        gpu_memory_utilization=given.gpu_share,
    )
    with pinned_to(cores):
        process = await ChildProcess.start(engine_command(settings, installed_build()))
    engine = Engine(role, settings, process)
    try:
        await engine.until_ready()
        await warm_up([engine])
        yield engine, process.pid
    except Exception as error:
        error.add_note(f"the end of {settings.engine_log}:\n{_end_of(settings.engine_log)}")
        raise
    finally:
        await engine.stop()


async def dialogues(
    served: Arrangement,
    tokenizer: HubTokenizer,
    openings: Sequence[str],
    size: Size,
    in_flight: int,
    names: Mapping[str, str] = NAMES,
) -> tuple[list[Dialogue], float]:
    """Greedy dialogues from these openings, `in_flight` at a time, and the seconds that all of them took.

    `names` are what each role's model is called at its engine.
    """
    room = asyncio.Semaphore(in_flight)
    async with engine_session(timeout_s=_REQUEST_TIMEOUT_S, limit=0) as session:
        clients = {role: EngineClient(session, engine.url) for role, engine in served.by_role.items()}

        async def one(opening: str) -> Dialogue:
            async with room:
                return await _dialogue(clients, tokenizer, opening, size, names)

        started = time.monotonic()
        said = await asyncio.gather(*map(one, openings))
        return said, time.monotonic() - started


async def _dialogue(
    clients: Mapping[str, EngineClient], tokenizer: HubTokenizer, opening: str, size: Size, names: Mapping[str, str]
) -> Dialogue:
    turns, said = [Turn(USER, opening)], []
    for number in range(size.utterances):
        role = USER if number % 2 else ASSISTANT
        prompt = prompt_ids(turns, _PROFILES[role], tokenizer)
        body = {"model": names[role], "prompt": prompt, "max_tokens": size.max_tokens, "temperature": 0}
        answer = await clients[role].complete(RequestBody(orjson.dumps(body | {"return_token_ids": True})))
        ids = [token_id for token_id in answer.token_ids if token_id != tokenizer.eos_id]
        said.append(ids)
        turns.append(Turn(role, tokenizer.decode(ids), ids))
    return said


def share_identical(one: Sequence[Dialogue], other: Sequence[Dialogue]) -> float:
    """The share of dialogues that are the same to the last id."""
    assert len(one) == len(other) > 0, "the same openings were used"
    return sum(a == b for a, b in zip(one, other, strict=True)) / len(one)


def num_tokens(said: Sequence[Dialogue]) -> int:
    """Ids that were generated and kept."""
    return sum(len(ids) for dialogue in said for ids in dialogue)


def _memory_mib(pid: int) -> float:
    """Memory of a process and of all that it started, what they share counted once, in MiB."""
    tree = psutil.Process(pid)
    return sum(process.memory_full_info().pss for process in (tree, *tree.children(recursive=True))) / 2**20
