"""Which replica a conversation is placed on."""

from __future__ import annotations

import aiohttp
import pytest

from platolm.speakers import EngineClient
from services.orchestrator.replicas import NoReplicaError, Replica, ReplicaPool, choose_replica


def replica(tokens: int, refused_until: float = 0.0) -> Replica:
    return Replica(EngineClient.__new__(EngineClient), reserved_tokens=tokens, refused_until=refused_until)


def test_the_least_reserved_is_chosen() -> None:
    replicas = [replica(30), replica(10), replica(20)]
    assert choose_replica(replicas, now=1.0, spread=0) is replicas[1]


def test_equals_are_spread() -> None:
    replicas = [replica(0), replica(0), replica(5)]
    chosen = [choose_replica(replicas, now=1.0, spread=i) for i in range(4)]
    assert chosen == [replicas[0], replicas[1], replicas[0], replicas[1]]


def test_one_that_failed_is_passed_over_until_its_time_is_up() -> None:
    failed, other = replica(0, refused_until=5.0), replica(90)
    assert choose_replica([failed, other], now=1.0, spread=0) is other
    assert choose_replica([failed, other], now=6.0, spread=0) is failed
    assert choose_replica([failed], now=1.0, spread=0) is None


async def test_reservations_come_and_go_with_placements() -> None:
    async with aiohttp.ClientSession() as session:
        pool = ReplicaPool(session, ["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"])
        await pool.refresh()
        first, second = pool.place(100, spread=0), pool.place(50, spread=0)
        assert {first.replica.url, second.replica.url} == {"http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"}
        assert pool.place(10, spread=0).replica is second.replica
        pool.leave(first)
        assert first.replica.reserved_tokens == 0
        pool.leave(second, failed=True)
        assert pool.place(1000, spread=0).replica is first.replica
        assert pool.place(1, spread=0).replica is first.replica


async def test_a_pool_without_engines_says_so() -> None:
    async with aiohttp.ClientSession() as session:
        pool = ReplicaPool(session, ["http://engines.invalid:8000/v1"])
        await pool.refresh()
        with pytest.raises(NoReplicaError, match=r"engines\.invalid") as caught:
            pool.place(1, spread=0)
        assert caught.value.retryable
