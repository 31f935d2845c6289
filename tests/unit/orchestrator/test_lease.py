"""For how long a worker may ask for more."""

from __future__ import annotations

import asyncio

import pytest

from services.orchestrator.conversations.lease import Lease


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def test_it_is_fresh_for_half_of_it_from_the_sending_on() -> None:
    clock = Clock()
    lease = Lease(10.0, clock=clock)
    seen = [lease.is_fresh]
    sent_at = lease.sending()
    clock.now += 2.0
    lease.renewed(sent_at)
    clock.now += 2.9
    seen.append(lease.is_fresh)
    await lease.fresh()
    clock.now += 0.1
    seen.append(lease.is_fresh)
    assert seen == [False, True, False]


async def test_whoever_waits_goes_on_with_the_next_renewal() -> None:
    clock = Clock()
    lease = Lease(10.0, clock=clock)
    waiting = [asyncio.create_task(lease.fresh()) for _ in range(3)]
    await asyncio.sleep(0)
    sent_at = lease.sending()
    clock.now += 5.0
    lease.renewed(sent_at)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(waiting[0]), 0.01)
    lease.renewed(lease.sending())
    await asyncio.wait_for(asyncio.gather(*waiting), 10)


async def test_one_that_is_lost_is_not_fresh() -> None:
    lease = Lease(10.0, clock=Clock())
    lease.renewed(lease.sending())
    lease.lost()
    assert not lease.is_fresh
