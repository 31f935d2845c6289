"""How fast an API may be asked: its limits a minute are kept, and used. Rules without a clock; `pacing` waits by them.

A limit is kept in every minute, wherever that begins, and requests are spread evenly over it: APIs divide theirs (Azure
counts requests over 1 or 10 seconds), and a burst would come again each minute. What was used is counted in slots of
time, so that the memory is the same for 3 and for 30,000 requests a minute. `pace.lua` has the same rules for several
processes; a test holds the two together.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

SLOT_S = 0.25
WINDOW_SLOTS = 243
"""A request counts for 60.5 to 60.75 s. The half second is for its way, which is not equally long for each."""
SPREAD_S = SLOT_S * WINDOW_SLOTS
"""What a limit is spread over: 98.8 % of it is used."""
CREDIT_S = SLOT_S
"""What is made up for after a pause: so much of a limit at once."""
CUT = 0.7
"""What is left of a limit after a 429."""
CUT_EVERY_S = 10.0
"""Refusals come in swarms, for what was on its way, and until the API's own minute is over: they count once."""
GROWTH_PER_S = 0.1 / 60
"""What comes back after a cut: a tenth of the limit a minute. With `CUT_EVERY_S`, 1/26 of it is always left."""
LEAST_LESSON_S = 1.0
"""The rate at which an API without a known limit refuses is taken over so long at least."""
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Of everyone, after a 429 that does not say how long; doubled for each in a row."""


@dataclass(frozen=True)
class RateLimits:
    """An API's limits a minute; None where it has none, or where it is not known.

    `counts_asked`: it counts what a request may generate (`max_tokens`), not what it did (Azure).
    """

    requests: int | None = None
    tokens: int | None = None
    counts_asked: bool = False


@dataclass(frozen=True)
class HeardLimits:
    """What an answer's headers say: limits, and for how many seconds nothing is left of one."""

    requests: int | None = None
    tokens: int | None = None
    pause_s: float = 0.0


@dataclass(frozen=True)
class Reservation:
    """A request that is sent at `at`, in seconds of the pacer's clock, and counted in `slot`."""

    at: float
    slot: int
    tokens: int


@dataclass
class Slot:
    """What was sent in `SLOT_S` seconds."""

    number: int
    requests: int = 0
    tokens: int = 0


@dataclass
class Pace:
    """Every call is given the time, in seconds, never less than before."""

    stated: RateLimits
    slots: deque[Slot] = field(default_factory=deque)
    used_requests: int = 0
    used_tokens: int = 0
    next_request_at: float = -math.inf
    next_token_at: float = -math.inf
    spare_s: float = 0.0
    """Of `next_token_at`, for tokens that were reserved and not used: the next requests take of it first."""
    paused_until: float = -math.inf
    pause_s: float = FIRST_PAUSE_S
    share: float = 1.0
    cut_at: float = -math.inf
    heard_requests: int | None = None
    heard_tokens: int | None = None
    learned_requests: int | None = None
    """A guess from refusals, of an API that says nothing of its limits."""

    def wait_s(self, now: float, tokens: int) -> float:
        """Seconds after which a request of so many tokens, prompt and most that it may generate, can be asked for
        again; 0: it may be sent, see `take`."""
        self._forget(now)
        requests_a_minute, tokens_a_minute = self._limits(now)
        waits = [0.0, self.paused_until - now]
        if requests_a_minute is not None:
            counted = ((slot.number, slot.requests) for slot in self.slots)
            waits += [self.next_request_at - now, _until_room(now, requests_a_minute, self.used_requests, 1, counted)]
        if tokens_a_minute is not None:
            counted = ((slot.number, slot.tokens) for slot in self.slots)
            waits += [self.next_token_at - now, _until_room(now, tokens_a_minute, self.used_tokens, tokens, counted)]
        return max(waits)

    def take(self, now: float, tokens: int) -> Reservation:
        """Count a request that is sent now."""
        number = _slot_number(now)
        if not self.slots or self.slots[-1].number < number:
            self.slots.append(Slot(number))
        self.next_request_at = max(self.next_request_at, now - CREDIT_S)
        self.next_token_at = max(self.next_token_at, now - CREDIT_S)
        self._count(now, self.slots[-1], 1, tokens)
        return Reservation(now, number, tokens)

    def settle(self, now: float, reservation: Reservation, tokens: int) -> None:
        """A request was answered, and used so many tokens."""
        if reservation.at >= self.paused_until:
            self.pause_s = FIRST_PAUSE_S
        if not self.stated.counts_asked:
            self._correct(now, reservation, 0, tokens - reservation.tokens)

    def release(self, now: float, reservation: Reservation) -> None:
        """A request was never sent."""
        self._correct(now, reservation, -1, -reservation.tokens)

    def throttled(self, now: float, reservation: Reservation, retry_after_s: float | None) -> None:
        """A request was refused with 429."""
        if retry_after_s is not None:
            self.paused_until = max(self.paused_until, now + retry_after_s)
        elif reservation.at >= self.paused_until:  # not one of those that were on their way already
            self.paused_until = now + self.pause_s
            self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s)
        if now >= self.cut_at + CUT_EVERY_S:
            self._cut(now)

    def heard(self, now: float, limits: HeardLimits) -> None:
        """Keep to what the API says of itself, where that is less than was stated."""
        self.heard_requests = limits.requests if limits.requests is not None else self.heard_requests
        self.heard_tokens = limits.tokens if limits.tokens is not None else self.heard_tokens
        if limits.pause_s > 0:
            self.paused_until = max(self.paused_until, now + limits.pause_s)

    def _cut(self, now: float) -> None:
        self._forget(now)
        if self._is_unknown() and self.learned_requests is None:
            since_s = now - self.slots[0].number * SLOT_S if self.slots else SPREAD_S
            self.learned_requests = max(1, math.floor(self.used_requests * 60 / max(LEAST_LESSON_S, since_s)))
        self.share = CUT * self._share(now)
        self.cut_at = now

    def _limits(self, now: float) -> tuple[int | None, int | None]:
        """Requests and tokens a minute, after cuts."""
        share = self._share(now)
        if self._is_unknown():
            return _part(self.learned_requests, share), None
        requests = _less(self.stated.requests, self.heard_requests)
        tokens = _less(self.stated.tokens, self.heard_tokens)
        return _part(requests, share), _part(tokens, share)

    def _is_unknown(self) -> bool:
        stated = (self.stated.requests, self.stated.tokens)
        return all(limit is None for limit in (*stated, self.heard_requests, self.heard_tokens))

    def _share(self, now: float) -> float:
        """Of a limit that is known at most the whole; what was learned may grow beyond itself."""
        if self.cut_at == -math.inf:
            return self.share
        grown = self.share + GROWTH_PER_S * (now - self.cut_at)
        return grown if self._is_unknown() else min(1.0, grown)

    def _forget(self, now: float) -> None:
        first = _slot_number(now) - WINDOW_SLOTS + 1
        while self.slots and self.slots[0].number < first:
            gone = self.slots.popleft()
            self.used_requests -= gone.requests
            self.used_tokens -= gone.tokens

    def _correct(self, now: float, reservation: Reservation, requests: int, tokens: int) -> None:
        self._forget(now)
        slot = next((slot for slot in reversed(self.slots) if slot.number == reservation.slot), None)
        self._count(now, slot, requests, tokens)

    def _count(self, now: float, slot: Slot | None, requests: int, tokens: int) -> None:
        """In a slot, unless that is forgotten, and in the spread."""
        if slot is not None:
            slot.requests += requests
            slot.tokens += tokens
            self.used_requests += requests
            self.used_tokens += tokens
        requests_a_minute, tokens_a_minute = self._limits(now)
        if requests_a_minute is not None:
            self.next_request_at += requests * SPREAD_S / requests_a_minute
        if tokens_a_minute is not None:
            self._spread_tokens(now, tokens * SPREAD_S / tokens_a_minute)

    def _spread_tokens(self, now: float, seconds: float) -> None:
        """What comes back calls the next request earlier; what nobody waits for is spare."""
        spared = min(self.spare_s, max(0.0, seconds))
        next_at = self.next_token_at + min(seconds, SPREAD_S) - spared
        self.next_token_at = next_at if seconds > 0 else max(next_at, now - CREDIT_S)
        self.spare_s = min(SPREAD_S, self.spare_s - spared + self.next_token_at - next_at)


def _slot_number(now: float) -> int:
    return math.floor(now / SLOT_S)


def _until_room(now: float, most: int, used: int, amount: int, slots: Iterable[tuple[int, int]]) -> float:
    """Seconds until enough is forgotten; what is more than the whole goes when there is nothing else."""
    freed_at = now
    for number, num_used in slots:
        if used <= 0 or used + amount <= most:
            break
        used -= num_used
        freed_at = (number + WINDOW_SLOTS) * SLOT_S
    return freed_at - now


def _less(stated: int | None, heard: int | None) -> int | None:
    return min((limit for limit in (stated, heard) if limit is not None), default=None)


def _part(limit: int | None, share: float) -> int | None:
    return None if limit is None else max(1, int(limit * share))
