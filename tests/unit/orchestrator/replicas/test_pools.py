"""Replicas found by name, and pools of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import aiohttp
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import EngineModel
from platolm.errors import MisconfiguredError, SpeakerError
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.engines.replicas import (
    LOOK_EVERY_S,
    LOOKS_PER_HANG,
    REFUSED_FOR_S,
    Pools,
    ReplicaPool,
    Replicas,
)
from services.orchestrator.queue import Offer
from tests.unit.orchestrator.replicas.engines import LOST, A, B, Resolver
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import NEVER, StubEngines


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


async def test_an_engine_that_does_well_is_left_in_peace(
    replicas: Replicas, engines: StubEngines, clock: StoppedClock
) -> None:
    pools = Pools(replicas, {role: [A, B] for role in (USER, ASSISTANT)})
    looks: list[list[str]] = []
    watch = replicas.watch

    async def counted(urls: list[str]) -> None:
        looks.append(urls)
        await watch(urls)

    replicas.watch = counted  # type: ignore[method-assign,assignment]
    await pools.refresh()
    clock.now += LOOK_EVERY_S - 0.1
    await pools.refresh()
    replicas.get(B).refuse()
    await pools.refresh()
    clock.now += 0.1
    await pools.refresh()
    assert [sorted(urls) for urls in looks] == [[A, B], [], [B], [A]]


async def test_looks_come_often_enough_to_find_a_hang_in_time(engines: StubEngines, clock: StoppedClock) -> None:
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=2.0)
    await replicas.watch([A])
    clock.now += 2.0 / LOOKS_PER_HANG
    assert replicas.due([A]) == [A]
