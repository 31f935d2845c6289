"""One pace of several processes, in a real Redis: the script decides as the rules in Python do."""

from __future__ import annotations

import asyncio
import random
import time

import pytest
from redis.asyncio import Redis

from platolm.chat_apis.pace import HeardLimits, Pace, RateLimits, Reservation
from platolm.chat_apis.pacing import RedisPacer, ScriptCaller
from platolm.errors import MisconfiguredError, SpeakerError

KEY = "pace:api"
START = 1_700_000_000.0


class ScriptedPace:
    """The script, at times that a test gives."""

    def __init__(self, call: ScriptCaller, limits: RateLimits) -> None:
        self._call = call
        self._stated = tuple("" if limit is None else limit for limit in (limits.requests, limits.tokens))

    async def run(self, what: str, now: float, *args: object) -> list[str]:
        answer: list[str] = await self._call("pace", what, KEY, repr(now), *self._stated, *args)
        return answer


LIMITS = [
    RateLimits(30, 4000),
    RateLimits(None, 2000),
    RateLimits(600),
    RateLimits(),
]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("limits", LIMITS, ids=str)
async def test_the_script_decides_as_the_rules_do(call: ScriptCaller, limits: RateLimits, seed: int) -> None:
    """Random calls, at random times, each compared to the last digit that matters."""
    rules, script, chance = Pace(limits), ScriptedPace(call, limits), random.Random(seed)
    now, taken, num_taken = START, list[Reservation](), 0
    for _ in range(600):
        now += chance.choice([0.0, 0.01, 0.3, 2.0, 2.0, 9.0, 70.0 if chance.random() < 0.1 else 0.5])
        what = chance.choice(["take"] * 6 + ["settle", "settle", "settle", "release", "throttled", "heard"])
        if what == "take":
            tokens = chance.choice([0, 1, 50, 700, 2000])
            wait_s = rules.wait_s(now, tokens)
            asked_s, at, slot = await script.run("take", now, tokens)
            assert float(asked_s) == pytest.approx(wait_s, abs=1e-5)
            assert (float(asked_s) <= 0) is (wait_s <= 0)
            if wait_s <= 0:
                taken.append(rules.take(now, tokens))
                assert (float(at), int(slot)) == (taken[-1].at, taken[-1].slot)
                num_taken += 1
        elif what == "heard":
            heard = chance.choice([HeardLimits(), HeardLimits(20, 1500), HeardLimits(pause_s=4.0)])
            rules.heard(now, heard)
            await script.run("heard", now, heard.requests or "", heard.tokens or "", heard.pause_s)
        elif taken:
            one = taken.pop(chance.randrange(len(taken)))
            parts = (repr(one.at), one.slot, one.tokens)
            if what == "settle":
                used = chance.randint(0, 2 * one.tokens)
                rules.settle(now, one, used)
                await script.run("settle", now, *parts, used)
            elif what == "release":
                rules.release(now, one)
                await script.run("release", now, *parts)
            else:
                retry_after_s = chance.choice([None, 0.0, 3.5])
                rules.throttled(now, one, retry_after_s)
                await script.run("throttled", now, *parts, "" if retry_after_s is None else retry_after_s)
    assert num_taken > 50


async def test_what_is_kept_in_redis_does_not_grow(call: ScriptCaller, redis: Redis) -> None:
    script = ScriptedPace(call, RateLimits())
    for i in range(1000):
        await script.run("take", START + i / 2, 10)
    assert await redis.hlen(KEY) <= 2 * 122 + 20  # two fields for each half second of a minute


async def test_several_workers_keep_one_limit_in_real_time(call: ScriptCaller) -> None:
    """Four pacers with 8 who ask all the time, 1200 a minute: 20 a second together."""
    pacers = [RedisPacer(call, KEY, RateLimits(1200)) for _ in range(4)]
    times: list[float] = []
    until = time.monotonic() + 3.0

    async def ask(pacer: RedisPacer) -> None:
        while time.monotonic() < until:
            reservation = await pacer.take(0)
            times.append(reservation.at)
            await pacer.settle(reservation, 0)

    await asyncio.gather(*(ask(pacer) for pacer in pacers for _ in range(8)))
    times.sort()
    times = times[:-32]  # those that were still waiting when it was over
    length_s = times[-1] - times[0]
    assert len(times) <= 1200 / 60.75 * length_s + 6 + 1
    assert len(times) >= 0.75 * 1200 / 60 * length_s


async def test_a_refusal_of_one_worker_makes_all_wait(call: ScriptCaller) -> None:
    one, other = (RedisPacer(call, KEY, RateLimits()) for _ in range(2))
    await other.take(0)
    await one.throttled(await one.take(0), 0.6)
    started = time.monotonic()
    await other.take(0)
    assert 0.55 <= time.monotonic() - started < 5


async def test_what_one_worker_heard_counts_for_all_and_is_told_once(call: ScriptCaller) -> None:
    calls: list[str] = []

    async def counting(script: str, *args: object) -> object:
        calls.append(str(args[0]))
        return await call(script, *args)

    one, other = RedisPacer(counting, KEY, RateLimits(600)), RedisPacer(call, KEY, RateLimits(600))
    for _ in range(3):
        await one.heard(HeardLimits(requests=60))
    assert calls == ["heard"]
    await other.take(0)
    waiting = asyncio.create_task(other.take(0))
    done, _ = await asyncio.wait([waiting], timeout=0.4)  # 0.76 s at 60 a minute, nothing at 600
    assert not done
    await waiting


async def test_tokens_given_back_by_one_worker_are_there_for_another(call: ScriptCaller) -> None:
    one, other = (RedisPacer(call, KEY, RateLimits(tokens=1000)) for _ in range(2))
    reservation = await one.take(1000)
    waiting = asyncio.create_task(other.take(500))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await one.settle(reservation, 0)
    await asyncio.wait_for(waiting, 5)


async def test_an_api_that_counts_what_was_asked_gets_nothing_back(call: ScriptCaller) -> None:
    pacer = RedisPacer(call, KEY, RateLimits(tokens=1000, counts_asked=True))
    await pacer.settle(await pacer.take(1000), 0)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(pacer.take(500), 0.5)


async def test_what_is_too_large_or_takes_too_long_is_refused(call: ScriptCaller) -> None:
    pacer = RedisPacer(call, KEY, RateLimits(tokens=1000))
    with pytest.raises(SpeakerError, match="lower max_tokens"):
        await pacer.take(1001)
    await pacer.heard(HeardLimits(pause_s=7200.0))
    with pytest.raises(MisconfiguredError, match="a pause of 120 minutes"):
        await pacer.take(1)


async def test_what_was_taken_before_redis_lost_all_is_not_put_right(call: ScriptCaller, redis: Redis) -> None:
    pacer = RedisPacer(call, KEY, RateLimits(tokens=1000))
    reservation = await pacer.take(1000)
    await redis.flushall()
    await pacer.settle(reservation, 10)
    await pacer.take(1000)
    assert await redis.hget(KEY, "used_tokens") == "1000"


async def test_redis_forgets_an_api_that_nobody_asks(call: ScriptCaller, redis: Redis) -> None:
    pacer = RedisPacer(call, KEY, RateLimits(60))
    await pacer.take(0)
    assert 3500 < await redis.ttl(KEY) <= 3600
