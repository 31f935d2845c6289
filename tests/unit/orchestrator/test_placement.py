"""Where a conversation's sides live, and what their caches can hold of it."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import aiohttp
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.conversation import ASSISTANT, USER
from platolm.spec import RunSpec, SideSpec
from services.orchestrator.conversations.placement import Placement
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.engines.replicas import Pools, Replica, Replicas
from services.orchestrator.queue import Claim, Queue
from tests.unit.orchestrator.stub_engines import StubEngines

A, B, C, OWN = (f"http://10.0.0.{i}:8000/v1" for i in range(1, 5))


@dataclass
class StubQueue:
    """Gives the answers that it holds: an address, None for a lost claim, an error to raise."""

    answers: list[str | Exception | None] = field(default_factory=list)
    calls: list[tuple[str, str, str, list[str]]] = field(default_factory=list)

    async def place(self, conversation_id: str, token: str, role: str, urls: Sequence[str]) -> str | None:
        self.calls.append((conversation_id, token, role, list(urls)))
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def queue() -> StubQueue:
    return StubQueue()


@pytest.fixture
async def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    StubEngines().installed(monkeypatch)
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [A], ASSISTANT: [A, B, C]})
    pools.get(ASSISTANT, f"{OWN},{B}")
    await pools.refresh()
    return pools


def placed(queue: StubQueue, pools: Pools, spec: RunSpec | None = None) -> Placement:
    claim = Claim("run-a-00000007", "run-a", 7, "{}", "token", [], {USER: A, ASSISTANT: B})
    return Placement(claim, spec or RunSpec(conversations=8), cast("Queue", queue), pools)


async def test_a_conversation_lives_where_its_claim_says(queue: StubQueue, pools: Pools) -> None:
    placement = placed(queue, pools)
    assert placement.replica(USER) is pools.replicas.get(A)
    assert placement.replica(ASSISTANT) is pools.replicas.get(B)
    assert queue.calls == []


Change = Callable[[Placement, str], Awaitable[bool]]

changes = pytest.mark.parametrize("change", [Placement.leave, Placement.try_another], ids=["leave", "try_another"])


@changes
async def test_it_goes_to_the_next_replica_and_stays_there(queue: StubQueue, pools: Pools, change: Change) -> None:
    placement = placed(queue, pools)
    queue.answers = [C]
    assert await change(placement, ASSISTANT)
    assert queue.calls == [("run-a-00000007", "token", ASSISTANT, [A, C])]
    assert placement.replica(ASSISTANT) is pools.replicas.get(C)
    assert placement.replica(USER) is pools.replicas.get(A), "the other side stays where its cache is"


@pytest.mark.parametrize(("change", "usable"), [(Placement.leave, [A, C]), (Placement.try_another, [A, B, C])])
async def test_only_what_is_left_is_passed_over_for_others(
    queue: StubQueue, pools: Pools, change: Change, usable: list[str]
) -> None:
    queue.answers = [C]
    await change(placed(queue, pools), ASSISTANT)
    assert [replica.url for replica in pools.engines(ASSISTANT, "").usable()] == usable


@changes
async def test_it_stays_within_the_pool_that_its_run_names(queue: StubQueue, pools: Pools, change: Change) -> None:
    own = SideSpec(profile="platolm", endpoints=[OWN, B])
    placement = placed(queue, pools, RunSpec(conversations=8, respondent=own))
    queue.answers = [OWN]
    assert await change(placement, ASSISTANT)
    assert queue.calls[0][3] == [OWN]


@changes
async def test_a_claim_that_was_lost_is_told(queue: StubQueue, pools: Pools, change: Change) -> None:
    placement = placed(queue, pools)
    queue.answers = [None]
    assert not await change(placement, ASSISTANT)
    assert placement.replica(ASSISTANT).url == B


async def test_with_no_other_replica_the_last_cannot_be_left(queue: StubQueue, pools: Pools) -> None:
    placement = placed(queue, pools)
    with pytest.raises(NoReplicaError) as caught:
        await placement.leave(USER)
    assert caught.value.retryable
    assert queue.calls == []
    assert placement.replica(USER).url == A
    assert pools.engines(USER, "").usable() == []


async def test_with_no_other_replica_the_last_is_tried_on(queue: StubQueue, pools: Pools) -> None:
    placement = placed(queue, pools)
    assert await placement.try_another(USER)
    assert queue.calls == []
    assert placement.replica(USER).url == A
    assert pools.engines(USER, "").usable() == [pools.replicas.get(A)]


@changes
async def test_replicas_that_cannot_be_used_are_no_others(queue: StubQueue, pools: Pools, change: Change) -> None:
    pools.replicas.get(A).refuse()
    pools.replicas.get(C).is_hung = True
    placement = placed(queue, pools)
    with contextlib.suppress(NoReplicaError):
        await change(placement, ASSISTANT)
    assert queue.calls == []
    assert placement.replica(ASSISTANT).url == B


async def test_redis_may_be_away_for_a_while(queue: StubQueue, pools: Pools, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.queue.outages._FIRST_RETRY_S", 0.0)
    queue.answers = [RedisConnectionError("away"), RedisConnectionError("away"), C]
    assert await placed(queue, pools).leave(ASSISTANT)
    assert len(queue.calls) == 3


@pytest.mark.parametrize(
    ("block_size", "num_tokens", "attainable"),
    # What an engine has computed is all but the last token; it keeps whole blocks.
    [(16, 16, 0), (16, 17, 16), (16, 32, 16), (16, 33, 32), (16, 1, 0), (128, 300, 256), (0, 300, 0), (1, 5, 4)],
)
async def test_what_can_be_cached_is_whole_blocks(
    queue: StubQueue, pools: Pools, block_size: int, num_tokens: int, attainable: int
) -> None:
    placement = placed(queue, pools)
    replica = placement.replica(USER)
    assert isinstance(replica, Replica)
    replica.reading = EngineReading(block_size=block_size)
    assert placement.attainable(USER, replica) == 0, "nothing was said yet"
    placement.spoken(USER, replica, num_tokens)
    assert placement.attainable(USER, replica) == attainable


async def test_another_replica_has_nothing_cached(queue: StubQueue, pools: Pools) -> None:
    placement = placed(queue, pools)
    for url in (A, B, C):
        pools.replicas.get(url).reading = EngineReading(block_size=16)
    before = placement.replica(ASSISTANT)
    placement.spoken(USER, placement.replica(USER), 500)
    placement.spoken(ASSISTANT, before, 100)
    queue.answers = [C]
    await placement.leave(ASSISTANT)
    after = placement.replica(ASSISTANT)
    assert placement.attainable(ASSISTANT, after) == 0
    placement.spoken(ASSISTANT, after, 120)
    assert placement.attainable(ASSISTANT, after) == 112
    assert placement.attainable(ASSISTANT, before) == 0
    assert placement.attainable(USER, placement.replica(USER)) == 496
