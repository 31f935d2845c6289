"""One budget of several processes, in a real Redis."""

from __future__ import annotations

import asyncio
import random

import pytest

from platolm.chat_apis.budget import RedisBudget
from platolm.chat_apis.pacing import ScriptCaller
from platolm.errors import BudgetSpentError

KEY = "run:1:budget"
LIMIT, MOST = 1_000_000, 20_000


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platolm.chat_apis.budget.POLL_S", 0.005)


async def test_workers_stop_within_an_utterance_and_never_pass_the_limit(call: ScriptCaller) -> None:
    budgets, cost = [RedisBudget(call, KEY, LIMIT) for _ in range(4)], random.Random(3)

    async def slot(budget: RedisBudget) -> None:
        while True:
            hold = await budget.hold(MOST)
            await asyncio.sleep(cost.uniform(0, 0.01))
            await budget.settle(hold, cost.randint(100, MOST))

    results = await asyncio.gather(*(slot(budget) for budget in budgets for _ in range(8)), return_exceptions=True)
    assert [type(result) for result in results] == [BudgetSpentError] * 32
    assert LIMIT - MOST < await budgets[0].spent_nanos() <= LIMIT


async def test_calls_may_be_made_again(call: ScriptCaller) -> None:
    """As they are where a reply was lost."""

    async def twice(script: str, *args: object) -> object:
        await call(script, *args)
        return await call(script, *args)

    budget = RedisBudget(twice, KEY, LIMIT)
    hold = await budget.hold(MOST)
    await budget.settle(hold, 700)
    assert await budget.spent_nanos() == 700
    await budget.settle(await budget.hold(LIMIT - 700), 0)  # nothing else is held
    assert await budget.spent_nanos() == 700


async def test_what_a_dead_worker_held_is_counted_as_spent_after_a_while(
    call: ScriptCaller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platolm.chat_apis.budget.HOLD_FOR_S", 0.2)
    dead, alive = RedisBudget(call, KEY, LIMIT), RedisBudget(call, KEY, LIMIT)
    lost = await dead.hold(LIMIT - MOST // 2)
    with pytest.raises(BudgetSpentError):
        await asyncio.wait_for(alive.hold(MOST), 10)  # waits for the other, then there is no more
    assert await alive.spent_nanos() == LIMIT - MOST // 2
    await dead.settle(lost, 5)  # too late: it has been counted
    assert await alive.spent_nanos() == LIMIT - MOST // 2


async def test_a_budget_may_be_raised(call: ScriptCaller) -> None:
    first = RedisBudget(call, KEY, MOST)
    await first.settle(await first.hold(MOST), MOST)
    with pytest.raises(BudgetSpentError):
        await first.hold(1)
    raised = RedisBudget(call, KEY, 2 * MOST)
    await raised.settle(await raised.hold(MOST), 1)
    assert await raised.spent_nanos() == MOST + 1


async def test_what_costs_nothing(call: ScriptCaller) -> None:
    budget = RedisBudget(call, KEY, 0)
    await budget.settle(await budget.hold(0), 0)
    assert await budget.spent_nanos() == 0
