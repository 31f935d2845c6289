"""Runs in the queue, on a real Redis: their states and their ends."""

from __future__ import annotations

import pytest

from platolm.conversation import TerminationReason
from platolm.runs import PausedBy, RunState, conversation_id
from platolm.spec import RunSpec
from services.orchestrator.queue import Outcome, Queue, QueuedConversation
from tests.integration.orchestrator.queueing import (
    LEASE_MS,
    append,
    claim,
    claim_one,
    finish,
    keys_left,
    make_run,
    progress_of,
)
from tests.redis_server import RedisServer

pytestmark = pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)


async def test_an_idempotency_key_makes_one_run(queue: Queue) -> None:
    await make_run(queue)
    again = await queue.create_run(
        "run-b", RunSpec(conversations=1), idempotency_key="key of run-a", digest="e", created_at=0.0, warnings=[]
    )
    assert again == ("run-a", "d")
    assert await queue.find_idempotent("key of run-a") == ("run-a", "d")
    assert await queue.find_idempotent("another") is None
    assert await queue.run_ids() == await queue.open_runs() == await queue.active_runs() == ["run-a"]


async def test_feeding_twice_from_one_cursor_feeds_once(queue: Queue) -> None:
    await make_run(queue, conversations=3)
    assert await queue.feed("run-a", cursor=0, seeds=["{}"] * 3, window=10, max_finished=10) == 3
    assert await queue.waiting("run-a") == 3


async def test_feeding_stops_at_the_window_and_when_records_pile_up(queue: Queue) -> None:
    spec = RunSpec(conversations=10)
    await queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=0.0, warnings=[])
    assert await queue.feed("run-a", cursor=0, seeds=["{}"] * 10, window=4, max_finished=1) == 4
    owned = await claim_one(queue)
    assert await finish(queue, owned, 0) is Outcome.OK
    assert await queue.feed("run-a", cursor=4, seeds=["{}"] * 6, window=100, max_finished=1) == 4


async def test_an_empty_seed_passes_its_conversation_over(queue: Queue) -> None:
    spec = RunSpec(conversations=3)
    await queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=0.0, warnings=[])
    assert await queue.feed("run-a", cursor=0, seeds=["", "{}", ""], window=10, max_finished=10) == 3
    assert [owned.index for owned in await claim(queue, 9)] == [1]


async def test_a_run_whose_last_conversations_were_passed_over_completes(queue: Queue) -> None:
    """As after a Redis that lost the feeding of what the dataset has already."""
    spec = RunSpec(conversations=2)
    await queue.create_run("run-a", spec, idempotency_key="k", digest="d", created_at=0.0, warnings=[])
    assert await queue.commit("run-a", committed=2, indices=[]) is RunState.RUNNING
    assert await queue.feed("run-a", cursor=0, seeds=["", ""], window=10, max_finished=10) == 2
    progress = await progress_of(queue)
    assert (progress.state, progress.finished, progress.committed) == (RunState.COMPLETED, 2, 2)


async def test_progress_counts(queue: Queue) -> None:
    await make_run(queue, conversations=5)
    owned = await claim_one(queue)
    await claim_one(queue)
    await finish(queue, owned, 0)
    progress = await progress_of(queue)
    assert (progress.fed, progress.in_flight, progress.finished, progress.committed) == (5, 1, 1, 0)
    assert progress.terminations == {TerminationReason.CONTEXT_FULL: 1}
    assert await queue.progress("run-unknown") is None


async def test_what_waits_can_be_read(queue: Queue) -> None:
    await make_run(queue, conversations=3)
    owned = await claim_one(queue)
    await append(queue, owned, 0, "said")
    ids = [conversation_id("run-a", index) for index in range(3)]
    page, cursor = await queue.queued_page("run-a", limit=2)
    assert page == [
        QueuedConversation(ids[0], 0, "in_flight", 1, 0, "w1"),
        QueuedConversation(ids[1], 1, "queued", 0, 0, None),
    ]
    assert cursor is not None
    assert await queue.queued_page("run-a", after=cursor, limit=2) == (
        [QueuedConversation(ids[2], 2, "queued", 0, 0, None)],
        None,
    )
    detail = await queue.queued_conversation(ids[0])
    assert detail is not None
    assert (detail.run_id, detail.index, detail.state, detail.turns) == ("run-a", 0, "in_flight", ["said"])
    assert await queue.queued_conversation(conversation_id("run-a", 3)) is None


async def test_a_paused_run_hands_nothing_out_until_it_is_resumed(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert await queue.pause("run-a", PausedBy.USER, "lunch") is RunState.PAUSED
    assert await claim(queue, 9) == []
    assert (await append(queue, owned, 0)).run_state is RunState.PAUSED
    assert await queue.release(owned.conversation_id, owned.token)
    pause = (await progress_of(queue)).pause
    assert pause is not None
    assert (pause.by, pause.reason) == (PausedBy.USER, "lunch")
    assert await queue.feed("run-a", cursor=4, seeds=["{}"], window=10, max_finished=10) == 4
    assert await queue.open_runs() == ["run-a"]
    assert await queue.resume("run-a") is RunState.RUNNING
    assert (await progress_of(queue)).pause is None
    assert [again.index for again in await claim(queue, 9)] == [0, 1, 2, 3]


async def test_only_the_one_who_paused_resumes_by_name(queue: Queue) -> None:
    await make_run(queue)
    assert await queue.pause("run-a", PausedBy.WRITER, "disk full") is RunState.PAUSED
    assert await queue.resume("run-a", PausedBy.WORKER) is RunState.PAUSED
    assert await queue.pause("run-a", PausedBy.WORKER, "no model") is RunState.PAUSED
    assert await queue.resume("run-a", PausedBy.WORKER) is RunState.PAUSED, "the writer's pause stands"
    assert await queue.pause("run-a", PausedBy.USER, "lunch") is RunState.PAUSED
    assert await queue.resume("run-a", PausedBy.WRITER) is RunState.PAUSED, "a person's pause replaced it"
    assert await queue.resume("run-a") is RunState.RUNNING
    assert await queue.active_runs() == ["run-a"]


async def test_a_paused_run_completes_when_its_last_record_is_written(queue: Queue) -> None:
    await make_run(queue, conversations=1)
    owned = await claim_one(queue)
    await queue.pause("run-a", PausedBy.USER, "lunch")
    assert await finish(queue, owned, 0) is Outcome.OK
    assert await queue.commit("run-a", committed=1, indices=[0]) is RunState.COMPLETED
    assert (await progress_of(queue)).pause is None
    assert await queue.open_runs() == []


async def test_what_does_not_apply_changes_nothing(queue: Queue) -> None:
    await make_run(queue, conversations=1)
    assert await queue.resume("run-a") is RunState.RUNNING
    assert await queue.active_runs() == ["run-a"]
    await finish(queue, await claim_one(queue), 0)
    await queue.commit("run-a", committed=1, indices=[0])
    for state in (
        await queue.pause("run-a", PausedBy.USER, "late"),
        await queue.resume("run-a"),
        await queue.cancel("run-a"),
    ):
        assert state is RunState.COMPLETED
    assert await queue.active_runs() == await queue.open_runs() == []


async def test_a_run_that_does_not_exist_is_not_made_by_asking(queue: Queue, redis_server: RedisServer) -> None:
    """As after a Redis that lost a run's creation, with everybody still working on it."""
    assert await queue.pause("run-a", PausedBy.USER, "x") is None
    assert await queue.resume("run-a") is None
    assert await queue.cancel("run-a") is None
    assert await queue.retry_dead("run-a") is None
    assert await queue.commit("run-a", committed=1, indices=[0]) is None
    assert await queue.feed("run-a", cursor=0, seeds=["{}"], window=10, max_finished=10) == -1
    assert await keys_left(redis_server) == []


async def test_a_cancelled_run_keeps_what_was_finished_and_nothing_else(
    queue: Queue, redis_server: RedisServer
) -> None:
    await make_run(queue, conversations=4)
    first, second, _ = await claim(queue, 3)
    assert await finish(queue, first, 0) is Outcome.OK
    assert await queue.cancel("run-a") is RunState.CANCELLING
    assert (await append(queue, second, 0)).outcome is Outcome.STALE
    assert await finish(queue, second, 0) is Outcome.GONE
    assert not await queue.release(second.conversation_id, second.token)
    assert await queue.fail(second.conversation_id, second.token, "late") is Outcome.STALE
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {}
    assert await queue.open_runs() == ["run-a"]
    assert await queue.commit("run-a", committed=1, indices=[0]) is RunState.CANCELLED
    progress = await progress_of(queue)
    assert (progress.committed, progress.cancelled, progress.in_flight) == (1, 3, 0)
    assert await keys_left(redis_server) == [
        "idempotency:key of run-a", "run:run-a", "runs", "worker:w1:lease", "workers"
    ]  # fmt: skip


async def test_a_cancelled_run_without_records_is_over_at_once(queue: Queue) -> None:
    await make_run(queue)
    assert await queue.cancel("run-a") is RunState.CANCELLED
    assert await queue.open_runs() == []
