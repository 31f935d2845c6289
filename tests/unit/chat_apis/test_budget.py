"""A budget that is held before it is spent."""

from __future__ import annotations

import asyncio
import random

import pytest

from platolm.chat_apis.budget import LocalBudget
from platolm.errors import BudgetSpentError
from tests.virtual_time import in_virtual_time

LIMIT = 1_000_000
MOST = 10_000
SLOTS = 64


def test_slots_stop_within_an_utterance_and_never_pass_the_limit() -> None:
    async def main() -> int:
        budget, cost = LocalBudget(LIMIT), random.Random(7)

        async def slot() -> None:
            while True:
                hold = await budget.hold(MOST)
                await asyncio.sleep(cost.uniform(1, 9))
                await budget.settle(hold, cost.randint(100, MOST))

        results = await asyncio.gather(*(slot() for _ in range(SLOTS)), return_exceptions=True)
        assert [type(result) for result in results] == [BudgetSpentError] * SLOTS
        return await budget.spent_nanos()

    assert LIMIT - MOST < in_virtual_time(main()) <= LIMIT


def test_a_small_budget_is_spent_by_many_slots_a_few_at_a_time() -> None:
    """What they hold together is many times the budget; it goes on as long as one more utterance fits."""

    async def main() -> tuple[int, int]:
        budget, most_at_once, at_once = LocalBudget(3 * MOST), 0, 0

        async def slot() -> None:
            nonlocal most_at_once, at_once
            while True:
                hold = await budget.hold(MOST)
                at_once += 1
                most_at_once = max(most_at_once, at_once)
                await asyncio.sleep(1)
                at_once -= 1
                await budget.settle(hold, MOST // 10)

        await asyncio.gather(*(slot() for _ in range(SLOTS)), return_exceptions=True)
        return await budget.spent_nanos(), most_at_once

    spent, most_at_once = in_virtual_time(main())
    assert most_at_once == 3
    assert 2 * MOST < spent <= 3 * MOST


def test_what_never_fits_is_refused_at_once_with_what_to_do() -> None:
    async def main() -> None:
        budget = LocalBudget(2 * 10**9)
        await budget.settle(await budget.hold(10**9), 15 * 10**8)
        with pytest.raises(BudgetSpentError, match=r"^1\.50 of the budget of 2\.00 is spent, .* cost 1\.00: raise"):
            await budget.hold(10**9)
        assert asyncio.get_running_loop().time() == 0

    in_virtual_time(main())


def test_what_costs_nothing_is_never_refused_within_the_limit() -> None:
    async def main() -> None:
        budget = LocalBudget(0)
        await budget.settle(await budget.hold(0), 0)

    in_virtual_time(main())


def test_who_is_cancelled_while_waiting_holds_nothing() -> None:
    async def main() -> None:
        budget = LocalBudget(MOST)
        hold = await budget.hold(MOST)
        waiting = [asyncio.create_task(budget.hold(MOST)) for _ in range(2)]
        await asyncio.sleep(1)
        waiting[0].cancel()
        await budget.settle(hold, 0)
        await waiting[1]

    in_virtual_time(main())
