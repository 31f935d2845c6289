"""The wall over all runs, and one conversation as it goes on; what workers would do, tests do."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.live_api import RunsEvent
from services.orchestrator.live.messages import partial_message
from services.orchestrator.queue import Claim, Queue
from tests.integration.orchestrator.api.event_streams import listening, read_events, until
from tests.integration.orchestrator.api.runs import finish, only_of, record, said, submit, url_of, write
from tests.integration.orchestrator.processes import Process, api_process
from tests.integration.orchestrator.queueing import append
from tests.redis_server import RedisServer

LISTENERS = 50
UTTERANCES, UTTERANCES_PER_S = 800, 200


async def in_flight(client: httpx.AsyncClient, queue: Queue, **spec: Any) -> Claim:
    """A conversation that somebody works on, of a run of one."""
    run_id = await submit(client, fed=queue, conversations=1, **spec)
    [owned] = await only_of(queue, run_id, 1)
    return owned


def turn_of(owned: Claim, turn_index: int, content: str) -> dict[str, Any]:
    return {
        "run_id": owned.run_id,
        "conversation_id": owned.conversation_id,
        "index": owned.index,
        "turn_index": turn_index,
        "role": USER,
        "content": content,
    }


# The wall


async def test_a_newcomer_sees_every_open_run_at_once(client: httpx.AsyncClient, queue: Queue) -> None:
    await submit(client, conversations=7)
    named = await submit(client, fed=queue, conversations=5, name="a name")
    await only_of(queue, named, 2)
    async with asyncio.timeout(0.5), listening(client, "/v1/live") as events:
        name, content = await anext(events)
    assert name == "runs"
    runs = RunsEvent.model_validate(content).runs
    assert [run.id for run in runs] == [run.id for run in sorted(runs, key=lambda run: run.created_at, reverse=True)]
    assert {run.id for run in runs} >= set(await queue.open_runs())
    [shown] = [run for run in content["runs"] if run["id"] == named]
    progress = (await client.get(f"/v1/runs/{named}")).json()
    assert shown == {
        "name": "a name",
        "conversations": 5,
        **{field: progress[field] for field in shown if field not in ("name", "conversations")},
    }
    assert (shown["in_flight"], shown["fed"]) == (2, 5)
    await queue.cancel(named)


async def test_turns_and_endings_of_all_runs_come_to_the_wall(client: httpx.AsyncClient, queue: Queue) -> None:
    async with listening(client, "/v1/live") as events:
        assert (await anext(events))[0] == "runs"
        for text in ("one run", "a run that began later"):
            owned = await in_flight(client, queue)
            await append(queue, owned, 0, said(text))
            assert await until(events, "turn") == turn_of(owned, 0, text)
            await finish(queue, owned)
            ended = await until(events, "ended")
            assert ended == {
                "run_id": owned.run_id,
                "conversation_id": owned.conversation_id,
                "index": 0,
                "termination_reason": "turn_limit",
            }


async def test_the_wall_of_one_run(client: httpx.AsyncClient, queue: Queue) -> None:
    mine, other = await in_flight(client, queue), await in_flight(client, queue)
    async with listening(client, "/v1/live", run_id=mine.run_id) as events:
        assert [run["id"] for run in (await until(events, "runs"))["runs"]] == [mine.run_id]
        await append(queue, other, 0, said("not this"))
        await append(queue, mine, 0, said("this"))
        assert await until(events, "turn") == turn_of(mine, 0, "this")
    for owned in (mine, other):
        await queue.cancel(owned.run_id)
    async with listening(client, "/v1/live", run_id=mine.run_id) as events:
        assert [run["state"] for run in (await until(events, "runs"))["runs"]] == ["cancelled"]


async def test_a_run_is_shown_for_a_while_after_its_end(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client)
    async with listening(client, "/v1/live", turns=False) as events:
        states = []
        while "cancelled" not in states:
            runs = (await until(events, "runs"))["runs"]
            states = [run["state"] for run in runs if run["id"] == run_id]
            assert len(states) == 1
            await queue.cancel(run_id)


async def test_a_wall_without_turns(client: httpx.AsyncClient, queue: Queue) -> None:
    async with listening(client, "/v1/live", turns=False) as events:
        assert (await anext(events))[0] == "runs"
        owned = await in_flight(client, queue)
        await append(queue, owned, 0, said("not to be seen"))
        await finish(queue, owned)
        seen = [(await anext(events))[0] for _ in range(3)]
    assert set(seen) <= {"runs", "sample"}
    assert await queue._redis.pubsub_numpat() == 0


async def test_listeners_share_one_subscription_and_free_it(client: httpx.AsyncClient, queue: Queue) -> None:
    async with listening(client, "/v1/live") as first, listening(client, "/v1/live") as second:
        assert [(await anext(events))[0] for events in (first, second)] == ["runs", "runs"]
        assert await queue._redis.pubsub_numpat() == 1
    async with asyncio.timeout(2):
        while await queue._redis.pubsub_numpat():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_run_that_is_none_has_no_wall(client: httpx.AsyncClient) -> None:
    assert (await client.get("/v1/live", params={"run_id": "run-of-nobody"})).status_code == 404


async def test_fifty_listeners_cost_little(api: Process, client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, conversations=1000)
    assert api.popen is not None
    process = psutil.Process(api.popen.pid)
    seen = [0] * LISTENERS

    async def listen(number: int, begun: asyncio.Event) -> None:
        async with client.stream("GET", "/v1/live") as response:
            async for line in response.aiter_lines():
                begun.set()
                seen[number] += line == "event: turn"
                if seen[number] == UTTERANCES:
                    return

    begun = [asyncio.Event() for _ in range(LISTENERS)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        for number, event in enumerate(begun):
            group.create_task(listen(number, event))
        for event in begun:
            await event.wait()
        before, started = process.cpu_times(), time.monotonic()
        for number in range(UTTERANCES):
            await queue._redis.publish(queue.key("events", run_id), f"{number} 0 {said('word ' * 40)}")
            await asyncio.sleep(max(0.0, number / UTTERANCES_PER_S - (time.monotonic() - started)))
    took_s = time.monotonic() - started
    used_s = sum(process.cpu_times()[:2]) - sum(before[:2])
    assert seen == [UTTERANCES] * LISTENERS
    assert used_s < 0.2 * took_s, f"{used_s:.2f} s of a core in {took_s:.2f} s"
    await queue.cancel(run_id)


# One conversation


async def test_a_conversation_from_what_was_said_to_its_end(
    client: httpx.AsyncClient, queue: Queue, folder: Path
) -> None:
    owned = await in_flight(client, queue)
    await append(queue, owned, 0, said("Hello"))
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        name, before = await anext(events)
        detail = (await client.get(f"/v1/conversations/{owned.conversation_id}")).json()
        assert (name, before) == ("conversation", detail)
        assert [turn["content"] for turn in before["turns"]] == ["Hello"]
        for text in ("Good", "Good day"):
            await queue.show(owned.conversation_id, partial_message(1, ASSISTANT, text))
            assert await anext(events) == ("partial", {"turn_index": 1, "role": ASSISTANT, "text": text})
        await append(queue, owned, 1, said("Good day!", ASSISTANT))
        assert await anext(events) == ("turn", {**turn_of(owned, 1, "Good day!"), "role": ASSISTANT})
        await finish(queue, owned)
        assert (await anext(events))[0] == "ended"
        name, after = await anext(events)
        assert (name, after["state"], after["record"]) == ("conversation", "finished", record(owned.run_id, 0))
        with pytest.raises(StopAsyncIteration):
            await anext(events)


async def test_who_comes_late_gets_the_turns_and_the_whole_text_so_far(client: httpx.AsyncClient, queue: Queue) -> None:
    owned = await in_flight(client, queue)
    path = f"/v1/conversations/{owned.conversation_id}/events"
    partial = {"turn_index": 1, "role": ASSISTANT, "text": "Good"}
    async with listening(client, path) as events:
        assert (await anext(events))[0] == "conversation"
        await append(queue, owned, 0, said("Hello"))
        await queue.show(owned.conversation_id, partial_message(1, ASSISTANT, "Good"))
        assert await until(events, "partial") == partial
        async with listening(client, path) as late:
            name, detail = await anext(late)
            assert (name, [turn["content"] for turn in detail["turns"]]) == ("conversation", ["Hello"])
            assert await anext(late) == ("partial", partial)
            await append(queue, owned, 1, said("Good day!", ASSISTANT))
            for each in (events, late):
                assert (await until(each, "turn"))["turn_index"] == 1
    await queue.cancel(owned.run_id)


async def test_a_partial_that_comes_after_its_turn_is_not_told(client: httpx.AsyncClient, queue: Queue) -> None:
    owned = await in_flight(client, queue)
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        assert (await anext(events))[0] == "conversation"
        await append(queue, owned, 0, said("Hello"))
        assert (await anext(events))[0] == "turn"
        await queue.show(owned.conversation_id, partial_message(0, USER, "Hel"))
        await queue.show(owned.conversation_id, partial_message(1, ASSISTANT, "Go"))
        assert await anext(events) == ("partial", {"turn_index": 1, "role": ASSISTANT, "text": "Go"})
    await queue.cancel(owned.run_id)


async def test_others_conversations_are_not_told(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, fed=queue, conversations=12)
    owned = await only_of(queue, run_id, 12)
    async with listening(client, f"/v1/conversations/{owned[1].conversation_id}/events") as events:
        assert (await anext(events))[0] == "conversation"
        for number in (0, 11, 10, 2, 1):
            await append(queue, owned[number], 0, said(f"of {number}"))
        assert await anext(events) == ("turn", turn_of(owned[1], 0, "of 1"))
    await queue.cancel(run_id)


async def test_a_conversation_is_watched_while_somebody_listens(client: httpx.AsyncClient, queue: Queue) -> None:
    owned = await in_flight(client, queue)
    assert owned.conversation_id not in await queue.watched()
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        assert (await anext(events))[0] == "conversation"
        async with asyncio.timeout(2):
            while owned.conversation_id not in await queue.watched():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        score = float(await queue._redis.zscore(queue.key("watched"), owned.conversation_id) or 0)
        assert 12 <= score - (await queue._redis.time())[0] <= 15
    await queue.cancel(owned.run_id)


async def test_watching_ends_by_itself(queue: Queue) -> None:
    await queue.watch("run-x-00000001", for_s=1)
    await queue.watch("run-x-00000002", for_s=60)
    assert await queue.watched() >= {"run-x-00000001", "run-x-00000002"}
    async with asyncio.timeout(5):
        while "run-x-00000001" in await queue.watched():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert "run-x-00000002" in await queue.watched()


async def test_a_conversation_that_is_over_has_one_event(client: httpx.AsyncClient, queue: Queue, folder: Path) -> None:
    owned = await in_flight(client, queue)
    await finish(queue, owned)
    await write(queue, folder, owned.run_id)
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        seen = [event async for event in events]
    assert [(name, content["state"]) for name, content in seen] == [("conversation", "finished")]


async def test_a_conversation_that_dies_is_told_without_an_ending(client: httpx.AsyncClient, queue: Queue) -> None:
    owned = await in_flight(client, queue, retries={"attempts": 1})
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        assert (await anext(events))[0] == "conversation"
        await queue.fail(owned.conversation_id, owned.token, "it broke")
        seen = [event async for event in events]
    assert [(name, content["state"], content["error"]) for name, content in seen] == [
        ("conversation", "dead", "it broke")
    ]


async def test_a_conversation_that_is_cancelled_ends_the_stream(client: httpx.AsyncClient, queue: Queue) -> None:
    owned = await in_flight(client, queue)
    async with listening(client, f"/v1/conversations/{owned.conversation_id}/events") as events:
        assert (await anext(events))[0] == "conversation"
        await queue.cancel(owned.run_id)
        async with asyncio.timeout(3):
            assert [event async for event in events] == []


async def test_a_conversation_may_be_waited_for(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, conversations=2)
    async with listening(client, f"/v1/conversations/{run_id}-00000001/events") as events:
        name, detail = await anext(events)
        assert (name, detail["state"], detail["turns"]) == ("conversation", "queued", [])
        async with asyncio.timeout(30):  # past a look or two at whether it is over
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(events), 2.5)


@pytest.mark.parametrize("conversation", ["run-of-nobody-00000000", "talks-00000001"])
async def test_a_conversation_that_is_none_has_no_events(client: httpx.AsyncClient, conversation: str) -> None:
    assert (await client.get(f"/v1/conversations/{conversation}/events")).status_code == 404


# Redis


async def first_event(client: httpx.AsyncClient, path: str) -> str:
    """The name of the first event, connecting again as often as the stream ends or is refused before."""
    while True:
        async with client.stream("GET", path) as response:
            assert response.status_code in (200, 503)
            async for name, _ in read_events(response):
                return name


async def test_streams_end_when_redis_goes_away_and_begin_again(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis", appendfsync="always")
    server.start()
    process = api_process(tmp_path, server.url).start()
    try:
        async with httpx.AsyncClient(base_url=url_of(process), timeout=60) as client:
            run_id = await submit(client)
            paths = ("/v1/live", f"/v1/runs/{run_id}/events", f"/v1/conversations/{run_id}-00000000/events")
            for path in paths:
                async with asyncio.timeout(30), listening(client, path) as events:
                    await anext(events)
                    server.kill()
                    assert {name async for name, _ in events} <= {"runs", "progress", "sample"}
                assert (await client.get(path)).status_code == 503
                server.start()
                async with asyncio.timeout(30):
                    assert await first_event(client, path) in ("runs", "progress", "conversation")
    finally:
        process.end()
        server.stop()
    assert "Traceback" not in process.log.read_text()
