"""Conversations in the queue, on a real Redis: fences, loss, failures."""

from __future__ import annotations

import json

import pytest

from platolm.runs import PausedBy, RunState, conversation_id
from services.orchestrator.queue import Outcome, Queue
from tests.integration.orchestrator.queueing import (
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


async def test_an_append_whose_answer_was_lost_is_recorded_once(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 0, "one")).outcome is Outcome.OK
    assert (await append(queue, owned, 0, "another")).outcome is Outcome.STALE
    progress = await progress_of(queue)
    assert (progress.utterances, progress.generated_tokens) == (1, 3)


async def test_utterances_and_the_end_are_published_once(queue: Queue) -> None:
    await make_run(queue)
    owned = await claim_one(queue)
    async with queue.pubsub() as pubsub:
        await pubsub.subscribe(queue.key("events", "run-a"))
        await pubsub.get_message(timeout=5)
        await append(queue, owned, 0, '{"content": "one"}')
        await append(queue, owned, 0, '{"content": "one"}')
        await append(queue, owned, 1, '{"content": "two"}')
        assert await finish(queue, owned, 3) is Outcome.SHORT
        assert await finish(queue, owned, 2) is Outcome.OK
        assert await finish(queue, owned, 2) is Outcome.GONE
        heard = [await pubsub.get_message(ignore_subscribe_messages=True, timeout=5) for _ in range(3)]
        told = ['0 0 {"content": "one"}', '0 1 {"content": "two"}', "0 ended context_full"]
        assert [message["data"] for message in heard if message is not None] == told
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
