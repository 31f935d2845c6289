"""The queue's scripts on a real Redis: fences, order, placement, limits, loss, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import time

import pytest
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.runs import PausedBy, RunProgress, RunState, conversation_id
from platolm.spec import RunSpec
from services.orchestrator.queue import Claim, LeaseLostError, Outcome, Queue, QueuedConversation
from tests.integration.orchestrator.queueing import (
    ASSISTANT_URL,
    LEASE_MS,
    USER_URL,
    append,
    claim,
    claim_one,
    finish,
    make_run,
    offers,
)
from tests.redis_server import RedisServer

pytestmark = pytest.mark.parametrize("redis_server", ["embedded", "system"], indirect=True)


async def progress_of(queue: Queue, run_id: str = "run-a") -> RunProgress:
    progress = await queue.progress(run_id)
    assert progress is not None
    return progress


async def keys_left(redis_server: RedisServer) -> list[str]:
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        return sorted([key.removeprefix("platolm:") async for key in redis.scan_iter()])


# runs


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


# pausing, resuming, cancelling


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


# claims


async def test_runs_are_served_in_turn(queue: Queue) -> None:
    await make_run(queue, "run-big", conversations=50)
    await make_run(queue, "run-small", conversations=2)
    claims = await claim(queue, 4)
    assert sorted(owned.run_id for owned in claims) == ["run-big", "run-big", "run-small", "run-small"]


async def test_the_run_with_the_fewest_in_flight_comes_first(queue: Queue) -> None:
    await make_run(queue, "run-big", conversations=50)
    await claim(queue, 5)
    await make_run(queue, "run-new", conversations=50)
    assert [owned.run_id for owned in await claim(queue, 5, "w2")] == ["run-new"] * 5


async def test_a_run_takes_no_more_than_its_limit_in_flight(queue: Queue) -> None:
    await make_run(queue, conversations=9, limits={"in_flight": 3})
    owned = await claim(queue, 9)
    assert len(owned) == 3
    assert await claim(queue, 9, "w2") == []
    await finish(queue, owned[0], 0)
    assert len(await claim(queue, 9, "w2")) == 1


async def test_claims_give_what_was_recorded(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert (owned.index, owned.turns, owned.seed) == (0, [], "{}")
    assert owned.placed == {USER: USER_URL, ASSISTANT: ASSISTANT_URL}
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 1, "two")).outcome is Outcome.OK
    assert await queue.release(owned.conversation_id, owned.token)
    again = await claim_one(queue, "w2")
    assert (again.conversation_id, again.turns) == (owned.conversation_id, ["one", "two"])
    assert again.token != owned.token


async def test_runs_whose_replicas_were_not_offered_are_named(queue: Queue) -> None:
    endpoint = "http://10.0.0.5:8000/v1"
    await make_run(queue, "run-own", simulator={"profile": "socratic", "endpoints": [endpoint]})
    await make_run(queue, "run-default")
    await queue.register("w1", lease_ms=LEASE_MS)
    claimed = await queue.claim("w1", count=9, offers=offers())
    assert {owned.run_id for owned in claimed.claims} == {"run-default"}
    assert claimed.unknown_runs == ["run-own"]
    offered = offers()
    offered[USER][endpoint] = offers({endpoint: 0})[USER][""]
    claimed = await queue.claim("w1", count=9, offers=offered)
    assert [owned.placed[USER] for owned in claimed.claims] == [endpoint] * 4
    assert claimed.unknown_runs == []


# placement


async def test_conversations_go_where_the_fewest_tokens_are_reserved(queue: Queue) -> None:
    await make_run(queue, conversations=6, endings={"context_tokens": 100})
    claims = await claim(queue, 6, offered=offers({"u0": 0, "u1": 0, "u2": 0}))
    assert sorted(owned.placed[USER] for owned in claims) == ["u0", "u0", "u1", "u1", "u2", "u2"]
    assert await queue.reserved() == {"u0": 200, "u1": 200, "u2": 200, ASSISTANT_URL: 600}
    for owned in claims:
        assert await finish(queue, owned, 0) is Outcome.OK
    assert await queue.reserved() == {}


async def test_a_full_replica_takes_none_and_an_empty_one_takes_any(queue: Queue) -> None:
    await make_run(queue, conversations=9, endings={"context_tokens": 100})
    assert len(await claim(queue, 9, offered=offers({"u0": 250, "u1": 50}))) == 3
    assert await queue.reserved() == {"u0": 200, "u1": 100, ASSISTANT_URL: 300}


async def test_an_engine_for_both_sides_takes_both_sides_need(queue: Queue) -> None:
    await make_run(queue, conversations=9, endings={"context_tokens": 100})
    both = {"both": 500}
    assert len(await claim(queue, 9, offered=offers(both, both))) == 2
    assert await queue.reserved() == {"both": 400}


async def test_a_conversation_goes_back_to_its_replica(queue: Queue) -> None:
    await make_run(queue, conversations=4, endings={"context_tokens": 100})
    offered = offers({"u0": 0, "u1": 0})
    claims = await claim(queue, 4, offered=offered)
    stayed = next(owned for owned in claims if owned.placed[USER] == "u1")
    by_replica = sorted(claims, key=lambda owned: owned.placed[USER])
    for owned in by_replica:  # so that choosing by reserved tokens alone would spread them differently
        await queue.release(owned.conversation_id, owned.token)
    again = {owned.index: owned.placed[USER] for owned in await claim(queue, 4, "w2", offered)}
    assert again == {owned.index: owned.placed[USER] for owned in claims}
    for owned in await claim(queue, 9, "w2", offered):
        await queue.release(owned.conversation_id, owned.token)
    await queue.unregister("w2")
    moved = {owned.index: owned.placed[USER] for owned in await claim(queue, 4, "w3", offers({"u0": 0}))}
    assert moved[stayed.index] == "u0", "its own replica is gone"


async def test_a_lost_replicas_conversation_moves_with_its_reservation(queue: Queue) -> None:
    await make_run(queue, conversations=3, endings={"context_tokens": 100})
    claims = await claim(queue, 3, offered=offers({"u0": 0, "u1": 0}))
    moving = next(owned for owned in claims if owned.placed[USER] == "u0")
    assert await queue.place(moving.conversation_id, moving.token, USER, ["u1", "u2"]) == "u2"
    assert await queue.place(moving.conversation_id, "another token", USER, ["u1"]) is None
    assert await queue.place(moving.conversation_id, moving.token, USER, []) is None
    assert await queue.reserved() == {"u0": 100, "u1": 100, "u2": 100, ASSISTANT_URL: 300}
    for owned in claims:
        await finish(queue, owned, 0)
    assert await queue.reserved() == {}


async def test_what_is_reserved_follows_what_conversations_need(queue: Queue) -> None:
    await make_run(queue, conversations=200, endings={"context_tokens": 1600})
    for _ in range(100):
        await finish(queue, await claim_one(queue), 0, tokens=160)
    await claim_one(queue)
    reserved = await queue.reserved()
    assert 160 <= reserved[USER_URL] <= 180


# conversations


async def test_an_append_whose_answer_was_lost_is_recorded_once(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 0, "another")).outcome is Outcome.STALE
    progress = await progress_of(queue)
    assert (progress.utterances, progress.generated_tokens) == (1, 3)


async def test_an_utterance_is_published_once(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    async with queue.events() as pubsub:
        await pubsub.subscribe(queue.key("events", "run-a"))
        await pubsub.get_message(timeout=5)
        await append(queue, owned, 0, '{"content": "one"}')
        await append(queue, owned, 0, '{"content": "one"}')
        await append(queue, owned, 1, '{"content": "two"}')
        heard = [await pubsub.get_message(ignore_subscribe_messages=True, timeout=5) for _ in range(2)]
        assert [message["data"] for message in heard] == ['0 0 {"content": "one"}', '0 1 {"content": "two"}']
        assert await pubsub.get_message(ignore_subscribe_messages=True) is None


async def test_a_stale_owner_writes_nothing(queue: Queue) -> None:
    await make_run(queue)
    old = await claim_one(queue)
    await queue.release(old.conversation_id, old.token)
    new = await claim_one(queue, "w2")
    assert (await append(queue, old, 0)).outcome is Outcome.STALE
    assert await finish(queue, old, 0) is Outcome.STALE
    assert await queue.fail(old.conversation_id, old.token, "late") is Outcome.STALE
    assert not await queue.release(old.conversation_id, old.token)
    assert (await append(queue, new, 0)).outcome is Outcome.OK


async def test_redis_that_came_back_older_says_how_much_it_has(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    await append(queue, owned, 0)
    written = await append(queue, owned, 3)
    assert (written.outcome, written.length) == (Outcome.SHORT, 1)
    assert await finish(queue, owned, 3) is Outcome.SHORT


async def test_finishing_leaves_only_the_record(queue: Queue, redis_server: RedisServer) -> None:
    await make_run(queue, conversations=1)
    owned = await claim_one(queue)
    await append(queue, owned, 0)
    assert await finish(queue, owned, 1) is Outcome.OK
    assert await finish(queue, owned, 1) is Outcome.GONE
    assert await queue.finished_records("run-a", limit=10) == {0: "{}"}
    assert await queue.finished_record("run-a", 0) == "{}"
    assert await queue.commit("run-a", committed=1, indices=[0]) is RunState.COMPLETED
    assert await keys_left(redis_server) == [
        "idempotency:key of run-a", "run:run-a", "runs", "worker:w1:lease", "workers"
    ]  # fmt: skip


async def test_a_writer_that_knows_less_takes_nothing_back(queue: Queue) -> None:
    await make_run(queue, conversations=3)
    for owned in await claim(queue, 2):
        await finish(queue, owned, 0)
    assert await queue.commit("run-a", committed=2, indices=[0, 1]) is RunState.RUNNING
    assert await queue.commit("run-a", committed=1, indices=[0]) is RunState.RUNNING
    assert (await progress_of(queue)).committed == 2


async def test_a_run_goes_on_while_a_conversation_is_made_again(queue: Queue, redis_server: RedisServer) -> None:
    """Redis came back a moment older: the dataset has what is in flight here once more."""
    await make_run(queue, conversations=2)
    first, second = await claim(queue, 2)
    assert await finish(queue, first, 0) is Outcome.OK
    assert await queue.commit("run-a", committed=2, indices=[0]) is RunState.RUNNING
    assert await finish(queue, second, 0) is Outcome.OK
    assert await queue.commit("run-a", committed=2, indices=[1]) is RunState.COMPLETED
    assert "run:run-a:finished" not in await keys_left(redis_server)


async def test_a_dead_conversation_that_is_in_the_dataset_completes_nothing_early(queue: Queue) -> None:
    """Redis came back a moment older: a conversation that was committed is worked on again, and dies."""
    await make_run(queue, conversations=2, retries={"attempts": 1})
    first, second = await claim(queue, 2)
    assert await queue.commit("run-a", committed=1, indices=[]) is RunState.RUNNING
    assert await queue.fail(first.conversation_id, first.token, "boom") is Outcome.DEAD
    assert (await progress_of(queue)).state is RunState.RUNNING
    assert await finish(queue, second, 0) is Outcome.OK
    assert await queue.commit("run-a", committed=2, indices=[1]) is RunState.COMPLETED


# failures


async def test_after_its_attempts_a_conversation_is_dead_and_the_run_can_complete(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"attempts": 2})
    first = await claim_one(queue)
    assert await queue.fail(first.conversation_id, first.token, "boom") is Outcome.REQUEUED
    second = await claim_one(queue)
    assert await queue.fail(second.conversation_id, second.token, "boom again") is Outcome.DEAD
    [letter] = await queue.dead_conversations("run-a")
    assert (letter.id, letter.attempts, letter.error) == (conversation_id("run-a", 0), 2, "boom again")
    progress = await progress_of(queue)
    assert (progress.state, progress.dead) == (RunState.COMPLETED, 1)


async def test_engines_that_are_lost_one_after_another_make_a_conversation_dead(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"lost_engines": 3})
    first = await claim_one(queue)
    assert await queue.lose_engine(first.conversation_id, first.token, "reset") == 1
    assert await queue.lose_engine(first.conversation_id, "another token", "reset") is Outcome.STALE
    assert await queue.release(first.conversation_id, first.token)
    second = await claim_one(queue)
    assert (first.lost_engines, second.lost_engines) == (0, 1)
    assert await queue.lose_engine(second.conversation_id, second.token, "reset") == 2
    assert await queue.lose_engine(second.conversation_id, second.token, "reset again") is Outcome.DEAD
    [letter] = await queue.dead_conversations("run-a")
    assert letter.error == "3 engines were lost while they were to answer it, the last one: reset again"
    assert (await progress_of(queue)).state is RunState.COMPLETED


async def test_a_new_utterance_clears_a_conversation_of_engines_that_were_lost(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"lost_engines": 2})
    owned = await claim_one(queue)
    assert await queue.lose_engine(owned.conversation_id, owned.token, "reset") == 1
    await append(queue, owned, 0, "said")
    assert await queue.lose_engine(owned.conversation_id, owned.token, "reset") == 1
    assert await queue.release(owned.conversation_id, owned.token)
    assert (await claim_one(queue)).lost_engines == 1


async def test_a_dead_letter_holds_all_that_was_said(queue: Queue) -> None:
    await make_run(queue, conversations=2, retries={"attempts": 1})
    silent, spoken = await claim(queue, 2)
    turns = ['{"content": "naïve \\"café\\" 🙂\\n/"}', "two"]
    for position, turn in enumerate(turns):
        await append(queue, spoken, position, turn)
    for owned in (silent, spoken):
        await queue.fail(owned.conversation_id, owned.token, "boom")
    letters = [json.loads(await queue.dead_letter("run-a", index) or "") for index in (0, 1)]
    assert [json.loads(letter["turns"]) for letter in letters] == [[], turns]
    assert [(letter["index"], letter["seed"]) for letter in letters] == [(0, "{}"), (1, "{}")]


async def test_dead_conversations_are_handed_out_again_with_what_was_said(queue: Queue) -> None:
    await make_run(queue, conversations=2, retries={"attempts": 1})
    silent, spoken = await claim(queue, 2)
    await append(queue, spoken, 0, "said 🙂")
    for owned in (silent, spoken):
        assert await queue.fail(owned.conversation_id, owned.token, "boom") is Outcome.DEAD
    assert (await progress_of(queue)).state is RunState.COMPLETED
    assert await queue.retry_dead("run-a") == 2
    assert (await progress_of(queue)).state is RunState.RUNNING
    assert await queue.open_runs() == ["run-a"]
    again = {owned.index: owned for owned in await claim(queue, 9, "w2")}
    assert {index: (owned.seed, owned.turns) for index, owned in again.items()} == {
        0: ("{}", []),
        1: ("{}", ["said 🙂"]),
    }
    for owned in again.values():
        assert await finish(queue, owned, 0) is Outcome.OK
    assert await queue.commit("run-a", committed=2, indices=[0, 1]) is RunState.COMPLETED
    assert await queue.retry_dead("run-a") == 0


async def test_too_many_dead_pause_the_run_and_a_resume_counts_anew(queue: Queue) -> None:
    await make_run(queue, conversations=5, retries={"attempts": 1}, limits={"dead": 2})
    claims = await claim(queue, 3)
    for owned in claims[:2]:
        await queue.fail(owned.conversation_id, owned.token, "boom")
    progress = await progress_of(queue)
    assert progress.pause is not None
    assert (progress.state, progress.pause.by) == (RunState.PAUSED, PausedBy.LIMIT)
    assert "boom" in progress.pause.reason
    assert await queue.resume("run-a") is RunState.RUNNING
    await queue.fail(claims[2].conversation_id, claims[2].token, "boom")
    assert (await progress_of(queue)).state is RunState.RUNNING


async def test_a_token_limit_pauses_the_run_and_a_resume_counts_anew(queue: Queue) -> None:
    await make_run(queue, conversations=2, limits={"generated_tokens": 10})
    owned = await claim_one(queue)
    assert (await append(queue, owned, 0, generated_tokens=9)).run_state is RunState.RUNNING
    assert (await append(queue, owned, 1, generated_tokens=9)).run_state is RunState.PAUSED
    assert await queue.resume("run-a") is RunState.RUNNING
    assert (await append(queue, owned, 2, generated_tokens=9)).run_state is RunState.RUNNING


async def test_an_utterance_in_between_forgives_failures(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"attempts": 2})
    for position in range(4):
        owned = await claim_one(queue)
        assert (await append(queue, owned, position)).outcome is Outcome.OK
        assert await queue.fail(owned.conversation_id, owned.token, "boom") is Outcome.REQUEUED


# leases


async def reclaimed(queue: Queue, worker: str, *, lease_ms: int) -> int:
    """What `worker` frees as soon as Redis has been up for a lease and something is to be freed."""
    deadline = time.monotonic() + 10
    while not (freed := await queue.reclaim(worker, lease_ms=lease_ms)):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return freed


async def test_a_dead_workers_claims_are_handed_out_again(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    claims = await claim(queue, 2, "dying")
    await append(queue, claims[0], 0, "said before")
    await queue.register("dying", lease_ms=1)
    await queue.register("alive", lease_ms=500)
    assert await reclaimed(queue, "alive", lease_ms=500) == 2
    assert await queue.reserved() == {}
    assert await queue.workers() == 1
    with pytest.raises(LeaseLostError):
        await queue.renew("dying", lease_ms=LEASE_MS)
    with pytest.raises(LeaseLostError):
        await queue.claim("dying", count=1, offers=offers())
    again = {owned.index: owned.turns for owned in await claim(queue, 5, "alive")}
    assert again == {0: ["said before"], 1: []}


async def test_a_conversation_whose_workers_die_is_dead_after_its_attempts(queue: Queue) -> None:
    await make_run(queue, conversations=1, retries={"attempts": 2})
    for freed_so_far in range(2):
        await claim_one(queue, f"dying-{freed_so_far}")
        await queue.register(f"dying-{freed_so_far}", lease_ms=1)
        await queue.register("alive", lease_ms=500)
        assert await reclaimed(queue, "alive", lease_ms=500) == 1
    [letter] = await queue.dead_conversations("run-a")
    assert (letter.attempts, letter.error) == (2, "its worker died")


async def test_a_restarted_redis_reclaims_nothing_within_a_lease(queue: Queue, redis_server: RedisServer) -> None:
    await make_run(queue)
    owned = await _claim_before_expiry(queue)
    redis_server.stop()
    redis_server.start()
    async with Redis.from_url(redis_server.url, decode_responses=True) as redis:
        revived = Queue(redis)
        assert await revived.reclaim("w2", lease_ms=LEASE_MS) == 0
        assert await revived.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}


async def _claim_before_expiry(queue: Queue) -> Claim:
    owned = await claim_one(queue)
    await queue.register("w1", lease_ms=1)
    return owned


async def test_heartbeats_show_what_redis_holds(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}
    await finish(queue, owned, 0)
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {}


async def test_a_worker_that_leaves_leaves_no_claim_behind(queue: Queue) -> None:
    await make_run(queue, conversations=2)
    await claim(queue, 2)
    await queue.unregister("w1")
    assert await queue.reserved() == {}
    assert sorted(owned.index for owned in await claim(queue, 5, "w2")) == [0, 1]
    assert (await progress_of(queue)).in_flight == 2


async def test_a_starved_worker_does_not_reclaim_itself(queue: Queue) -> None:
    await make_run(queue)
    owned = await _claim_before_expiry(queue)
    await asyncio.sleep(1.1)  # beyond the lease, and beyond Redis's first second
    assert await queue.reclaim("w1", lease_ms=1000) == 0
    assert await queue.renew("w1", lease_ms=LEASE_MS) == {owned.conversation_id: owned.token}
