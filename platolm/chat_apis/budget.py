"""What a run may cost: held before a request, put right after it, so that the limit is not passed."""

from __future__ import annotations

import asyncio
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from platolm.chat_apis.pacing import ScriptCaller
from platolm.chat_apis.prices import money
from platolm.errors import BudgetSpentError

POLL_S = 0.25
"""How often a shared budget is asked again by those who wait for others' answers."""
HOLD_FOR_S = 3600.0
"""What a process held that died is counted as spent after this: it may have been."""


@dataclass(frozen=True)
class Hold:
    """What a request may cost at most, in billionths."""

    nanos: int
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class Budget(Protocol):
    """One run's, for all who spend of it. Costs are in billionths, see `prices`."""

    async def hold(self, nanos: int) -> Hold:
        """Set aside what a request may cost at most; waits while others' answers may leave enough for it.

        Raises:
            BudgetSpentError: what was spent does not leave so much.
        """
        ...

    async def settle(self, hold: Hold, nanos: int) -> None:
        """The request cost so much."""
        ...

    async def spent_nanos(self) -> int:
        """What was spent up to now."""
        ...


class LocalBudget:
    """Of one process."""

    def __init__(self, limit_nanos: int) -> None:
        self._limit = limit_nanos
        self._spent = 0
        self._held = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()

    async def hold(self, nanos: int) -> Hold:
        async with self._turn:
            while self._spent + self._held + nanos > self._limit:
                _check(self._spent, nanos, self._limit)
                self._changed.clear()
                await self._changed.wait()
            self._held += nanos
            return Hold(nanos)

    async def settle(self, hold: Hold, nanos: int) -> None:
        self._held -= hold.nanos
        self._spent += nanos
        self._changed.set()

    async def spent_nanos(self) -> int:
        return self._spent


class RedisBudget:
    """Of all processes that name the same `key`. Every call may be made again when its reply was lost.

    `limit_nanos` is what the run began with: a `limit` that a person has put into the hash since counts instead.
    """

    def __init__(self, call: ScriptCaller, key: str, limit_nanos: int) -> None:
        self._call = call
        self._key = key
        self._limit = limit_nanos
        self._turn = asyncio.Lock()

    async def hold(self, nanos: int) -> Hold:
        hold = Hold(nanos)
        async with self._turn:
            while True:
                answer = await self._call("budget", "hold", self._key, hold.id, nanos, self._limit, HOLD_FOR_S)
                if answer[0]:
                    return hold
                spent, limit = map(int, answer[1:])
                _check(spent, nanos, limit)
                await asyncio.sleep(POLL_S)

    async def settle(self, hold: Hold, nanos: int) -> None:
        await self._call("budget", "settle", self._key, hold.id, nanos)

    async def spent_nanos(self) -> int:
        return int(await self._call("budget", "spent", self._key))


def budget_scripts() -> dict[str, str]:
    """What `RedisBudget` calls, by name."""
    return {"budget": Path(__file__).with_name("budget.lua").read_text(encoding="utf-8")}


def _check(spent: int, nanos: int, limit: int) -> None:
    if spent + nanos > limit:
        raise BudgetSpentError(
            f"{money(spent)} of the budget of {money(limit)} is spent, and the next request may cost "
            f"{money(nanos)}: raise the budget and resume the run"
        )
