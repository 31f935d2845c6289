"""Replicas and pools: resolved, watched, passed over, and left when they hang."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from platolm.conversation import ASSISTANT, USER
from platolm.errors import MisconfiguredError, SpeakerError
from platolm.speakers import EngineClient, EngineModel, RequestBody
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.replicas import (
    MISSES_ALLOWED,
    REFUSED_FOR_S,
    HungEngineError,
    NoReplicaError,
    Pools,
    Replica,
    ReplicaPool,
    Replicas,
)
from services.orchestrator.queue import Offer
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import NEVER, Never, StubEngines

A, B = "http://10.0.0.1:8000/v1", "http://10.0.0.2:8000/v1"
HANG_AFTER_S = 60.0
LOST = SpeakerError("did not answer", retryable=True)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    stopped = StoppedClock()
    monkeypatch.setattr("services.orchestrator.engines.replicas.time", stopped)
    return stopped


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> StubEngines:
    return StubEngines().installed(monkeypatch)


@pytest.fixture
def replicas(engines: StubEngines) -> Replicas:
    return Replicas(cast("aiohttp.ClientSession", None), hang_after_s=HANG_AFTER_S)


class Resolver(dict[str, list[str]]):
    """Addresses by host; a host that is not in it does not resolve."""

    def getaddrinfo(self, host: str, port: int | None, *_args: Any, **_kwargs: Any) -> list[Any]:
        if host not in self:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        # As getaddrinfo does it: more than one entry for an address is possible, their order is anybody's.
        return [(socket.AF_INET, kind, 0, "", (address, port)) for address in self[host] for kind in (1, 2)]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    known = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", known.getaddrinfo)
    return known


def reading(iterations: float = 1.0, running: int = 1) -> EngineReading:
    return EngineReading(iterations=iterations, running=running)


def replica(url: str = A, moved_at: float = 0.0) -> Replica:
    return Replica(EngineClient(cast("aiohttp.ClientSession", None), url), moved_at=moved_at)


# Progress of one engine


@pytest.mark.parametrize(
    ("looks", "hung"),
    [
        # (iterations, running, seconds): whether it is hung after each.
        ([(0, 1, 0.0), (0, 1, 59.9), (0, 1, 60.0), (0, 1, 61.0)], [False, False, True, True]),
        ([(5, 1, 50.0), (5, 1, 109.9), (5, 1, 110.0)], [False, False, True]),
        ([(5, 1, 50.0), (6, 1, 109.9), (6, 1, 169.8), (6, 1, 169.95)], [False, False, False, True]),
        # Nothing to do is no hang, however long, nor are requests that came since.
        ([(5, 0, 50.0), (5, 0, 999.0), (5, 1, 1000.0), (5, 1, 1059.0), (5, 1, 1060.0)], [False] * 4 + [True]),
        # The same where no look came through for long: at the start, before the requests, and while it works.
        ([(0, 1, 500.0), (0, 1, 559.0), (0, 1, 560.0)], [False, False, True]),
        ([(5, 0, 0.0), (5, 1, 500.0), (5, 1, 559.0), (5, 1, 560.0)], [False, False, False, True]),
        ([(5, 1, 0.0), (6, 1, 500.0), (6, 1, 559.0)], [False, False, False]),
        ([(5, 1, 0.0), (5, 0, 500.0), (5, 1, 501.0), (5, 1, 560.0)], [False, False, False, False]),
        # It moves again, or starts anew with other counts: used again.
        ([(5, 1, 0.0), (5, 1, 60.0), (6, 1, 61.0), (6, 1, 120.0)], [False, True, False, False]),
        ([(5, 1, 0.0), (5, 1, 60.0), (0, 0, 61.0)], [False, True, False]),
        ([(5, 1, 0.0), (5, 1, 60.0), (2, 1, 61.0)], [False, True, False]),
    ],
)
def test_an_engine_with_requests_and_without_iterations_hangs(
    looks: list[tuple[float, int, float]], hung: list[bool]
) -> None:
    engine = replica()
    found = []
    for iterations, running, now in looks:
        engine.note(reading(iterations, running), now, hang_after_s=HANG_AFTER_S)
        found.append(engine.is_hung)
        assert engine.is_usable(now) is not engine.is_hung
    assert found == hung
    assert engine.reading == reading(*looks[-1][:2])


@pytest.mark.parametrize(
    ("refused_until", "is_hung", "now", "usable"),
    [(0.0, False, 0.0, True), (5.0, False, 4.9, False), (5.0, False, 5.0, True), (0.0, True, 9.0, False)],
)
def test_what_may_get_conversations(refused_until: float, is_hung: bool, now: float, usable: bool) -> None:
    engine = replica()
    engine.refused_until, engine.is_hung = refused_until, is_hung
    assert engine.is_usable(now) is usable


def test_one_that_failed_is_passed_over_for_a_while(clock: StoppedClock) -> None:
    engine = replica()
    engine.refuse()
    assert not engine.is_usable(clock.now + REFUSED_FOR_S - 0.01)
    assert engine.is_usable(clock.now + REFUSED_FOR_S)


# Waiters


async def waiting(engine: Replica, count: int = 1) -> list[asyncio.Task[None]]:
    """Tasks that wait for an answer of this engine."""

    async def wait() -> None:
        async with engine.waited_for(), asyncio.timeout(100):
            await asyncio.Event().wait()

    tasks = [asyncio.create_task(wait()) for _ in range(count)]
    await asyncio.sleep(0)
    assert engine.speaking == set(tasks)
    return tasks


def hang(engine: Replica) -> None:
    engine.note(reading(), 0.0, hang_after_s=HANG_AFTER_S)
    engine.note(reading(), HANG_AFTER_S, hang_after_s=HANG_AFTER_S)


async def test_an_engine_found_hung_wakes_everyone_who_waits() -> None:
    engine, other = replica(A), replica(B)
    tasks = await waiting(engine, 3)
    [elsewhere] = await waiting(other)
    hang(engine)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [HungEngineError] * 3
    assert all(isinstance(answer, SpeakerError) and answer.retryable and A in str(answer) for answer in answers)
    assert engine.speaking == set()
    assert other.speaking == {elsewhere}
    elsewhere.cancel()


async def test_one_who_was_woken_goes_on_as_if_never_cancelled() -> None:
    engine = replica()

    async def speak_twice() -> str:
        with pytest.raises(HungEngineError):
            async with engine.waited_for():
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        async with engine.waited_for():
            return "spoken"

    task = asyncio.create_task(speak_twice())
    await asyncio.sleep(0)
    assert engine.speaking == {task}
    hang(engine)
    assert await task == "spoken"


async def test_who_begins_to_wait_after_the_hang_was_found_is_not_woken_by_it() -> None:
    engine = replica()
    hang(engine)
    [task] = await waiting(engine)
    engine.note(reading(), HANG_AFTER_S + 1, hang_after_s=HANG_AFTER_S)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


async def test_a_real_cancellation_stays_one() -> None:
    engine = replica()
    [task] = await waiting(engine)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert engine.speaking == set()


@pytest.mark.parametrize("first", ["abandoned", "cancelled"])
async def test_both_at_once_stay_a_cancellation(first: str) -> None:
    engine = replica()
    [task] = await waiting(engine)
    if first == "abandoned":
        engine.abandon()
        task.cancel()
    else:
        task.cancel()
        engine.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_answer_that_came_in_the_same_moment_may_be_given_up() -> None:
    """The task was about to run on with it; it must not be cancelled for good."""
    engine = replica()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def speak() -> str:
        async with engine.waited_for():
            return await answer

    task = asyncio.create_task(speak())
    await asyncio.sleep(0)
    assert engine.speaking == {task}
    answer.set_result("spoken")
    engine.abandon()
    with pytest.raises(HungEngineError):
        await task


async def test_other_errors_pass_through() -> None:
    engine = replica()
    with pytest.raises(SpeakerError, match="busy"):
        async with engine.waited_for():
            raise SpeakerError("busy")
    assert engine.speaking == set()


@pytest.mark.parametrize("answers", ["never", "half"])
async def test_a_request_that_waits_for_a_hung_engine_is_given_up(answers: str) -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if answers == "half":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{")
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        engine = Replica(EngineClient(session, str(server.make_url("/v1"))))

        async def speak() -> None:
            async with engine.waited_for():
                await engine.engine.complete(RequestBody(b"{}"))

        task = asyncio.create_task(speak())
        await asked.wait()
        engine.abandon()
        with pytest.raises(HungEngineError):
            await task


# Looks


async def test_a_look_takes_in_what_the_engine_says(replicas: Replicas, engines: StubEngines) -> None:
    engines.metrics[A] = (
        "vllm:num_requests_running{} 3\nvllm:iteration_tokens_total_count{} 7\n"
        'vllm:cache_config_info{block_size="16",num_gpu_blocks="10"} 1\n'
    )
    await replicas.watch([A])
    assert replicas.get(A).reading == EngineReading(160, 16, 7.0, 3, 0)


@pytest.mark.parametrize("failure", [LOST, NEVER], ids=["refuses", "stalls"])
async def test_one_missed_look_is_borne_and_two_are_not(
    replicas: Replicas,
    engines: StubEngines,
    failure: SpeakerError | Never,
    clock: StoppedClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.01)
    usable = []
    answers: list[str | SpeakerError | Never] = ["", failure, "", failure, failure, failure, ""]
    for answer in answers:
        engines.metrics[A] = answer
        await replicas.watch([A])
        usable.append(replicas.get(A).is_usable(clock.now))
    assert MISSES_ALLOWED == 2
    assert usable == [True, True, True, True, False, False, True]


async def test_one_that_never_answered_is_not_borne(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    assert replicas.get(A).is_usable(clock.now), "nothing is known yet"
    engines.metrics[A] = LOST
    await replicas.watch([A])
    assert not replicas.get(A).is_usable(clock.now)
    clock.now += 10 * REFUSED_FOR_S
    assert not replicas.get(A).is_usable(clock.now), "time alone is no answer"
    engines.metrics[A] = ""
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_one_that_stays_away_is_passed_over_until_it_answers(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    """A look that stalls takes longer, with the pause before it, than a refusal lasts."""
    await replicas.watch([A])
    engines.metrics[A] = LOST
    for _ in range(MISSES_ALLOWED):
        await replicas.watch([A])
    clock.now += 2 * REFUSED_FOR_S
    assert not replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = ""
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_an_engine_that_failed_is_used_again_when_it_answers(replicas: Replicas, clock: StoppedClock) -> None:
    replicas.get(A).refuse()
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)


async def test_an_engine_without_metrics_answers_too(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    engines.metrics[A] = LOST
    for _ in range(MISSES_ALLOWED):
        await replicas.watch([A])
    assert not replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = MisconfiguredError("no such path", status=404)
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)
    engines.metrics[A] = LOST
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now), "the misses before do not count any more"


async def test_a_look_finds_a_hang(replicas: Replicas, engines: StubEngines, clock: StoppedClock) -> None:
    engines.metrics[A] = "vllm:num_requests_running{} 1\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    [task] = await waiting(replicas.get(A))
    clock.now += HANG_AFTER_S
    await replicas.watch([A])
    with pytest.raises(HungEngineError):
        await task
    assert not replicas.get(A).is_usable(clock.now)


async def test_looks_that_did_not_come_through_are_no_hang(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    engines.metrics[A] = "vllm:num_requests_running{} 0\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    engines.metrics[A] = LOST
    await replicas.watch([A])
    clock.now += 10 * HANG_AFTER_S
    engines.metrics[A] = "vllm:num_requests_running{} 4\nvllm:iteration_tokens_total_count{} 7\n"
    await replicas.watch([A])
    [task] = await waiting(replicas.get(A))
    assert replicas.get(A).is_usable(clock.now)
    clock.now += HANG_AFTER_S - 0.1
    await replicas.watch([A])
    assert replicas.get(A).is_usable(clock.now)
    task.cancel()


async def test_a_slow_engine_does_not_hold_up_the_others(
    replicas: Replicas, engines: StubEngines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.05)
    engines.metrics = {A: NEVER, B: "vllm:num_requests_running{} 2"}
    await replicas.watch([A, B])
    assert (replicas.get(A).misses, replicas.get(B).reading.running) == (1, 2)


async def test_an_engine_that_is_waited_for_is_not_forgotten(replicas: Replicas) -> None:
    kept = {url: replicas.get(url) for url in (A, B)}
    [task] = await waiting(kept[A])
    replicas.forget(set())
    assert list(replicas) == [kept[A]]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    replicas.forget({A})
    assert list(replicas) == [kept[A]]
    replicas.forget(set())
    assert list(replicas) == []


# Name resolution


@pytest.mark.parametrize(
    ("url", "addresses", "urls"),
    [
        ("http://engine:8000/v1", ["10.0.0.2", "10.0.0.1"], [A, B]),
        ("http://engine:8000/v1/", ["10.0.0.1"], [A]),
        ("http://engine/v1", ["10.0.0.1"], ["http://10.0.0.1/v1"]),
        ("http://ENGINE:8000/v1", ["10.0.0.1"], [A]),
        ("http://engine:8000/a/v1", ["10.0.0.1"], ["http://10.0.0.1:8000/a/v1"]),
        ("http://engine:8000/v1", ["fd00::1", "10.0.0.1"], [A, "http://[fd00::1]:8000/v1"]),
        ("http://engine/v1", ["fd00::1"], ["http://[fd00::1]/v1"]),
        # Its own machine goes by the name that was given: 127.0.0.1 and ::1 are one engine.
        ("http://engine:8000/v1", ["127.0.0.1", "::1"], ["http://engine:8000/v1"]),
        ("http://engine:8000/v1", ["127.0.0.1", "10.0.0.1"], ["http://10.0.0.1:8000/v1", "http://127.0.0.1:8000/v1"]),
        # A certificate is for a name.
        ("https://engine:8000/v1", ["10.0.0.1", "10.0.0.2"], ["https://engine:8000/v1"]),
    ],
)
async def test_a_host_stands_for_all_its_addresses(
    replicas: Replicas, resolver: Resolver, url: str, addresses: list[str], urls: list[str]
) -> None:
    resolver["engine"] = addresses
    pool = ReplicaPool(replicas, [url])
    await pool.refresh()
    assert list(pool.urls) == urls


@pytest.mark.parametrize("url", ["http://127.0.0.1:8000/v1", "http://[::1]:8000/v1", A, "http://[fd00::1]:8000/v1"])
async def test_an_address_stands_for_itself(replicas: Replicas, url: str) -> None:
    pool = ReplicaPool(replicas, [url])
    await pool.refresh()
    assert pool.urls == (url,)


async def test_two_names_of_one_engine_are_one_replica(replicas: Replicas, resolver: Resolver) -> None:
    resolver |= {"one": ["10.0.0.1"], "two": ["10.0.0.1", "10.0.0.2"]}
    pool = ReplicaPool(replicas, ["http://one:8000/v1", "http://two:8000/v1"])
    await pool.refresh()
    assert [offer.url for offer in pool.offers()] == [A, B]
    assert pool.name == "http://one:8000/v1, http://two:8000/v1"


async def test_new_addresses_are_offered_and_gone_ones_are_not(replicas: Replicas, resolver: Resolver) -> None:
    pool = ReplicaPool(replicas, ["http://engine:8000/v1"])
    seen = []
    for addresses in (["10.0.0.1"], ["10.0.0.1", "10.0.0.2"], ["10.0.0.2"]):
        resolver["engine"] = addresses
        await pool.refresh()
        seen.append([offer.url for offer in pool.offers()])
    assert seen == [[A], [A, B], [B]]


async def test_a_resolver_that_fails_takes_nothing_away(replicas: Replicas, resolver: Resolver) -> None:
    pool = ReplicaPool(replicas, ["http://one:8000/v1", "http://two:8000/v1"])
    await pool.refresh()
    assert list(pool.urls) == []
    resolver |= {"one": ["10.0.0.1"], "two": ["10.0.0.2"]}
    await pool.refresh()
    assert list(pool.urls) == [A, B]
    del resolver["one"]
    resolver["two"] = ["10.0.0.3"]
    await pool.refresh()
    assert list(pool.urls) == [A, B, "http://10.0.0.3:8000/v1"], "whose the known ones are is not known"
    resolver["one"] = ["10.0.0.1"]
    await pool.refresh()
    assert list(pool.urls) == [A, "http://10.0.0.3:8000/v1"]


@pytest.mark.parametrize("host", ["engine.", "no..host", "a" * 70, "ü" * 70])
async def test_a_host_that_is_none_does_not_resolve(replicas: Replicas, host: str) -> None:
    pool = ReplicaPool(replicas, [f"http://{host}.invalid:8000/v1"])
    await pool.refresh()
    assert pool.urls == ()


# A pool


@asynccontextmanager
async def pool_of(replicas: Replicas, resolver: Resolver, *addresses: str) -> AsyncIterator[ReplicaPool]:
    resolver["engine"] = list(addresses)
    pool = ReplicaPool(replicas, ["http://engine:8000/v1"])
    await pool.refresh()
    yield pool


async def test_offers_carry_the_size_of_the_cache(replicas: Replicas, resolver: Resolver) -> None:
    async with pool_of(replicas, resolver, "10.0.0.1", "10.0.0.2") as pool:
        replicas.get(B).reading = EngineReading(kv_tokens=5000)
        assert pool.offers() == [Offer(A, 0), Offer(B, 5000)]


async def test_since_when_no_engine_can_be_used(replicas: Replicas, resolver: Resolver, clock: StoppedClock) -> None:
    pool = ReplicaPool(replicas, ["http://engine:8000/v1"])

    def look() -> tuple[list[str], float | None]:
        return [one.url for one in pool.usable()], pool.unusable_since

    began = clock.now
    clock.now += 10
    assert look() == ([], began)
    resolver["engine"] = ["10.0.0.1", "10.0.0.2"]
    await pool.refresh()
    assert pool.unusable_since == began, "addresses alone are no engine that answers"
    assert look() == ([A, B], None)
    replicas.get(A).refuse()
    assert look() == ([B], None)
    replicas.get(B).is_hung = True
    gone_at = clock.now
    assert look() == ([], gone_at)
    clock.now += 3
    assert look() == ([], gone_at)
    clock.now = gone_at + REFUSED_FOR_S
    assert look() == ([A], None)


SOCRATIC, OTHER = EngineModel("socratic", "/models/a", 2048), EngineModel("other", "/models/b", 1024)


@pytest.mark.parametrize(
    ("first", "second", "model", "served"),
    [
        ([SOCRATIC, OTHER], [], None, SOCRATIC),
        ([SOCRATIC, OTHER], [], "other", OTHER),
        (LOST, [OTHER], None, OTHER),
        (NEVER, [OTHER], "other", OTHER),
        (MisconfiguredError("key refused", status=401), [OTHER], "other", OTHER),
    ],
)
async def test_the_first_engine_that_answers_tells_the_model(
    replicas: Replicas,
    resolver: Resolver,
    engines: StubEngines,
    monkeypatch: pytest.MonkeyPatch,
    first: Any,
    second: Any,
    model: str | None,
    served: EngineModel,
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.02)
    engines.models = {A: first, B: second}
    async with pool_of(replicas, resolver, "10.0.0.1", "10.0.0.2") as pool:
        assert await pool.describe(model) == served
        assert (replicas.get(A) in pool.usable()) is (first == [SOCRATIC, OTHER])


@pytest.mark.parametrize(
    ("first", "second", "model", "error", "said", "retryable"),
    [
        ([SOCRATIC], [OTHER], "missing", MisconfiguredError, f"{A} serves socratic, not missing", False),
        ([], [OTHER], "other", MisconfiguredError, f"{A} serves nothing, not other", False),
        ([], [OTHER], None, MisconfiguredError, f"{A} serves nothing", False),
        (LOST, LOST, None, SpeakerError, "did not answer", True),
        (LOST, NEVER, None, NoReplicaError, f"{B} does not answer", True),
        (LOST, MisconfiguredError("key refused"), None, MisconfiguredError, "key refused", False),
    ],
)
async def test_what_no_engine_tells(
    replicas: Replicas,
    resolver: Resolver,
    engines: StubEngines,
    monkeypatch: pytest.MonkeyPatch,
    first: Any,
    second: Any,
    model: str | None,
    error: type[SpeakerError],
    said: str,
    retryable: bool,
) -> None:
    monkeypatch.setattr("services.orchestrator.engines.replicas.LOOK_TIMEOUT_S", 0.02)
    engines.models = {A: first, B: second}
    async with pool_of(replicas, resolver, "10.0.0.1", "10.0.0.2") as pool:
        with pytest.raises(SpeakerError) as caught:
            await pool.describe(model)
    assert type(caught.value) is error
    assert (str(caught.value), caught.value.retryable) == (said, retryable)


async def test_a_pool_without_engines_says_so(replicas: Replicas, resolver: Resolver) -> None:
    pool = ReplicaPool(replicas, ["http://engine:8000/v1", "http://other:8000/v1"])
    await pool.refresh()
    with pytest.raises(NoReplicaError, match="no engine at http://engine:8000/v1, http://other:8000/v1") as caught:
        await pool.describe()
    assert caught.value.retryable


# All pools


async def test_runs_name_pools_of_their_own(replicas: Replicas, resolver: Resolver) -> None:
    resolver |= {"default": ["10.0.0.1"], "own": ["10.0.0.2"]}
    pools = Pools(replicas, {USER: ["http://default:8000/v1"], ASSISTANT: ["http://default:8000/v1"]})
    assert pools.get(USER, "") is pools.get(USER, "")
    assert pools.get(USER, "") is not pools.get(ASSISTANT, "")
    own = "http://own:8000/v1,http://default:8000/v1"
    assert pools.get(ASSISTANT, own) is pools.get(ASSISTANT, own)
    await pools.refresh()
    offers = pools.offers()
    assert offers == {USER: {"": [Offer(A, 0)]}, ASSISTANT: {"": [Offer(A, 0)], own: [Offer(A, 0), Offer(B, 0)]}}
    assert [(role, one.url) for role, one in pools.replicas_by_role()] == [(USER, A), (ASSISTANT, A), (ASSISTANT, B)]
    pools.forget({USER: set(), ASSISTANT: {own}})
    assert set(pools.offers()[ASSISTANT]) == {"", own}
    pools.forget({USER: {own}, ASSISTANT: set()})
    assert set(pools.offers()[ASSISTANT]) == {""}


async def test_a_refresh_reads_each_engine_once_and_forgets_those_that_are_gone(
    replicas: Replicas, resolver: Resolver, engines: StubEngines
) -> None:
    resolver["engine"] = ["10.0.0.1", "10.0.0.2"]
    pools = Pools(replicas, {role: ["http://engine:8000/v1"] for role in (USER, ASSISTANT)})
    engines.metrics[B] = LOST
    await pools.refresh()
    assert {one.url: one.misses for one in replicas} == {A: 0, B: 1}
    resolver["engine"] = ["10.0.0.2"]
    await pools.refresh()
    assert [one.url for one in replicas] == [B]
    assert pools.offers() == {USER: {"": []}, ASSISTANT: {"": []}}
