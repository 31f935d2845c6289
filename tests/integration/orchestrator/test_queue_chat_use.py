"""What the queue holds of chat APIs: accounts, budgets, what was expected; and that runs go on with a larger budget."""

from __future__ import annotations

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.prices import NANOS, Usage
from platolm.chat_apis.use import EstimatedCost
from platolm.errors import BudgetSpentError
from platolm.runs import PausedBy, RunState
from platolm.spec import Limits, RunSpec, SideSpec
from services.orchestrator.queue import Offer, Queue
from tests.integration.orchestrator.queueing import LEASE_MS, USER_URL, make_run, progress_of

SIDE = SideSpec(profile="chat", apis={"a": 1.0, "b": 2.0})
POOL = "apis:a,b"


async def make_chat_run(queue: Queue, budget: float | None = 2.0) -> None:
    await make_run(queue, conversations=3, respondent=SIDE, limits=Limits(budget=budget))


def account(num_requests: int, cost_nanos: int) -> SideAccount:
    sums = SideAccount()
    for _ in range(num_requests):
        sums.answered(Usage(10, 2), cost_nanos, 0.3)
    return sums


async def test_accounts_of_all_speakers_are_added_and_the_last_word_of_each_counts(queue: Queue) -> None:
    await make_chat_run(queue)
    assert (await progress_of(queue)).apis == {}
    await queue.chat_use.keep_account("run-a", "respondent", "one", account(1, NANOS // 4))
    await queue.chat_use.keep_account("run-a", "respondent", "one", account(3, NANOS // 4))
    await queue.chat_use.keep_account("run-a", "respondent", "two", account(2, NANOS))
    await queue.chat_use.keep_account("run-a", "simulator", "one", account(5, 0))
    used = (await progress_of(queue)).apis
    assert {side: (use.requests, use.prompt_tokens, use.cost) for side, use in used.items()} == {
        "respondent": (5, 50, 2.75),
        "simulator": (5, 50, 0.0),
    }


async def test_a_budget_is_the_specs_until_another_is_given(queue: Queue) -> None:
    await make_chat_run(queue)
    budget = queue.chat_use.budget("run-a", 2 * NANOS)
    await budget.settle(await budget.hold(2 * NANOS), 2 * NANOS)
    try:
        await budget.hold(1)
    except BudgetSpentError as error:
        await queue.pause("run-a", PausedBy.LIMIT, str(error))
    assert (await progress_of(queue)).budget == 2.0
    assert await queue.resume("run-a") is RunState.RUNNING
    assert (await progress_of(queue)).budget == 2.0
    assert await queue.resume("run-a", budget_nanos=3 * NANOS) is RunState.RUNNING, "also of one that runs"
    assert (await progress_of(queue)).budget == 3.0
    await budget.settle(await budget.hold(NANOS), 5)
    assert await budget.spent_nanos() == 2 * NANOS + 5


async def test_what_paused_a_run_does_not_give_it_a_budget(queue: Queue) -> None:
    await make_chat_run(queue, None)
    await queue.pause("run-a", PausedBy.USER, "asked for")
    await queue.resume("run-a", PausedBy.ENGINES)
    progress = await progress_of(queue)
    assert (progress.state, progress.budget) == (RunState.PAUSED, None)
    assert await queue.resume("run-b", budget_nanos=5) is None
    assert await queue.chat_use.budget("run-b", 1).spent_nanos() == 0


async def test_an_estimate_stays_with_its_run(queue: Queue) -> None:
    cost = EstimatedCost(low=1, likely=2.5, high=4, assumptions=["this"])
    spec = RunSpec(conversations=1, respondent=SIDE)
    told = cost.model_dump_json()
    await queue.create_run(
        "run-a", spec, idempotency_key="k", digest="d", created_at=1.0, warnings=[], cost_estimate=told
    )
    assert (await progress_of(queue)).cost_estimate == cost
    await make_run(queue, "run-b")
    assert (await progress_of(queue, "run-b")).cost_estimate is None


async def test_chat_apis_are_one_place_without_bounds(queue: Queue) -> None:
    """All conversations are handed out at once, however little an engine of the other side holds of them."""
    await make_chat_run(queue)
    await queue.register("w1", lease_ms=LEASE_MS)
    offered = {"user": {"": [Offer(USER_URL, 0)]}, "assistant": {"": [], POOL: [Offer(POOL, 0)]}}
    claimed = await queue.claim("w1", count=5, offers=offered)
    assert [dict(claim.placed) for claim in claimed.claims] == [{"user": USER_URL, "assistant": POOL}] * 3
    for claim in claimed.claims:
        await queue.release(claim.conversation_id, claim.token)
    assert await queue.reserved() == {}
    offered["assistant"][POOL] = []
    assert (await queue.claim("w1", count=5, offers=offered)).claims == [], "none of them answers"


async def test_workers_share_a_pace_by_the_apis_name(queue: Queue) -> None:
    first, second = (queue.chat_use.pacer("openai", RateLimits(requests=60)) for _ in range(2))
    one, other = await first.take(5), await second.take(5)
    assert other.at > one.at + 0.5, "a request a second, whoever asks"
