"""Waiting until a request may be sent: an API's pace, kept by one process, or by all workers together in Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, Protocol

from platolm.chat_apis import pace as rules
from platolm.chat_apis.pace import HeardLimits, Pace, RateLimits, Reservation
from platolm.errors import MisconfiguredError, SpeakerError

LONGEST_WAIT_S = 600.0
"""An API that asks for a longer pause has no quota left: a person has to decide."""
POLL_S = 0.1
"""How often a shared pace is asked again at least: another process may have given back what it did not use."""

_NO_NUMBER = ""
_RULES = tuple(name for name in vars(rules) if name.isupper())


class Pacer(Protocol):
    """One API's pace, for all who ask it."""

    async def take(self, tokens: int) -> Reservation:
        """Wait for a request's turn, in the order of asking; `tokens` are its prompt's and the most it may generate.

        The request is to be sent at once. Whoever is cancelled while waiting has taken nothing.

        Raises:
            SpeakerError: it is larger than what a minute allows.
            MisconfiguredError: the API asks for a pause of over `LONGEST_WAIT_S`.
        """
        ...

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        """A request was answered, and used so many tokens."""
        ...

    async def release(self, reservation: Reservation) -> None:
        """A request was never sent."""
        ...

    async def throttled(self, reservation: Reservation, retry_after_s: float | None) -> None:
        """A request was refused with 429: everyone waits, and goes on slower for a while."""
        ...

    async def heard(self, limits: HeardLimits) -> None:
        """Keep to what the API says of itself, where that is less than was stated."""
        ...


class LocalPacer:
    """The pace of one process, by its event loop's clock."""

    def __init__(self, limits: RateLimits) -> None:
        self._limits = limits
        self._pace = Pace(limits)
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def take(self, tokens: int) -> Reservation:
        _check_size(tokens, self._limits)
        async with self._turn:
            while (wait_s := self._pace.wait_s(_now(), tokens)) > 0:
                _check_wait(wait_s)
                self._changed.clear()
                await _event_or_time(self._changed, wait_s)
            return self._pace.take(_now(), tokens)

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        self._pace.settle(_now(), reservation, tokens)
        self._changed.set()

    async def release(self, reservation: Reservation) -> None:
        self._pace.release(_now(), reservation)
        self._changed.set()

    async def throttled(self, reservation: Reservation, retry_after_s: float | None) -> None:
        self._pace.throttled(_now(), reservation, retry_after_s)

    async def heard(self, limits: HeardLimits) -> None:
        self._pace.heard(_now(), limits)


class ScriptCaller(Protocol):
    """Runs a script of `pacing_scripts` by its name, and waits for as long as Redis is away."""

    def __call__(self, script: str, *args: Any) -> Awaitable[Any]: ...


class RedisPacer:
    """The pace of all processes that name the same `key`, by Redis' clock.

    A call whose reply was lost may be made again: what is counted twice slows down, for a minute. Redis' own loss of
    its last second, with `appendfsync everysec`, forgets that second's requests.
    """

    def __init__(self, call: ScriptCaller, key: str, limits: RateLimits) -> None:
        self._call = call
        self._key = key
        self._limits = limits
        self._stated = (_or_empty(limits.requests), _or_empty(limits.tokens))
        self._turn = asyncio.Lock()
        self._heard = HeardLimits()

    async def take(self, tokens: int) -> Reservation:
        _check_size(tokens, self._limits)
        async with self._turn:
            while True:
                wait_s, now, slot = await self._pace("take", tokens)
                if float(wait_s) <= 0:
                    return Reservation(float(now), int(slot), tokens)
                _check_wait(float(wait_s))
                await asyncio.sleep(min(float(wait_s), POLL_S))

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        used = reservation.tokens if self._limits.counts_asked else tokens
        await self._pace("settle", *_parts(reservation), used)

    async def release(self, reservation: Reservation) -> None:
        await self._pace("release", *_parts(reservation))

    async def throttled(self, reservation: Reservation, retry_after_s: float | None) -> None:
        await self._pace("throttled", *_parts(reservation), _or_empty(retry_after_s))

    async def heard(self, limits: HeardLimits) -> None:
        """Redis is told of news only: an API says the same with every answer."""
        if limits.pause_s <= 0 and limits == self._heard:
            return
        self._heard = HeardLimits(limits.requests, limits.tokens)
        await self._pace("heard", _or_empty(limits.requests), _or_empty(limits.tokens), limits.pause_s)

    async def _pace(self, what: str, *args: Any) -> Any:
        return await self._call("pace", what, self._key, _NO_NUMBER, *self._stated, *args)


def pacing_scripts() -> dict[str, str]:
    """What `RedisPacer` calls, by name: the script, with the constants of `pace` before it."""
    constants = "".join(f"local {name} = {getattr(rules, name)!r}\n" for name in _RULES)
    return {"pace": constants + Path(__file__).with_name("pace.lua").read_text(encoding="utf-8")}


async def _event_or_time(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return


def _now() -> float:
    return asyncio.get_running_loop().time()


def _check_size(tokens: int, limits: RateLimits) -> None:
    if limits.tokens is not None and tokens > limits.tokens:
        raise SpeakerError(
            f"a request of up to {tokens} tokens is above the API's {limits.tokens} a minute: lower max_tokens"
        )


def _check_wait(wait_s: float) -> None:
    if wait_s > LONGEST_WAIT_S:
        raise MisconfiguredError(
            f"the API asks for a pause of {wait_s / 60:.0f} minutes, its quota is used up; resume the run after it"
        )


def _parts(reservation: Reservation) -> tuple[str, int, int]:
    return f"{reservation.at!r}", reservation.slot, reservation.tokens


def _or_empty(number: float | None) -> str:
    return _NO_NUMBER if number is None else f"{number!r}"
