"""Events as they happen."""

from __future__ import annotations

import asyncio
import contextlib
import time
from pathlib import Path
from typing import Any

import httpx
import psutil

from platolm.conversation import USER
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.api.event_streams import read_events
from tests.integration.orchestrator.api.runs import (
    finish,
    only_of,
    said,
    submit,
    url_of,
)
from tests.integration.orchestrator.processes import Process, api_process
from tests.integration.orchestrator.queueing import append
from tests.redis_server import RedisServer


async def test_events_until_the_runs_end(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client, fed=queue, conversations=1)
    [owned] = await only_of(queue, run_id, 1)
    seen: list[tuple[str, Any]] = []
    url = f"/v1/runs/{run_id}/events"
    async with client.stream("GET", url, headers={"Last-Event-ID": "77"}) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        async for name, data in read_events(response):
            if not seen:
                for number in range(3):
                    await append(queue, owned, number, said(f"Line\n{number} é"))
                await finish(queue, owned)
                await queue.commit(run_id, committed=1, indices=[0])
            seen.append((name, data))
    assert seen[0][0] == seen[-1][0] == "progress"
    assert (seen[0][1]["state"], seen[-1][1]["state"]) == ("running", "completed")
    whose = {"run_id": run_id, "conversation_id": owned.conversation_id, "index": 0}
    assert [data for name, data in seen if name == "turn"] == [
        {
            **whose,
            "turn_index": number,
            "role": USER,
            "content": f"Line\n{number} é",
        }
        for number in range(3)
    ]
    assert [data for name, data in seen if name == "ended"] == [{**whose, "termination_reason": "turn_limit"}]


async def test_a_run_that_is_over_has_one_event(client: httpx.AsyncClient) -> None:
    run_id = await submit(client)
    await client.post(f"/v1/runs/{run_id}/cancel")
    response = await client.get(f"/v1/runs/{run_id}/events")
    assert response.text.count("event: ") == 1
    assert '"state":"cancelled"' in response.text


async def subscriptions(queue: Queue, run_id: str) -> int:
    [(_, count)] = await queue._redis.pubsub_numsub(queue.key("events", run_id))
    return int(count)


async def test_listeners_share_one_subscription_and_free_it_at_once(client: httpx.AsyncClient, queue: Queue) -> None:
    run_id = await submit(client)
    url = f"/v1/runs/{run_id}/events"
    async with client.stream("GET", url) as first, client.stream("GET", url) as second:
        streams = [read_events(response) for response in (first, second)]
        assert [(await anext(stream))[0] for stream in streams] == ["progress", "progress"]
        assert await subscriptions(queue, run_id) == 1
    async with asyncio.timeout(2):
        while await subscriptions(queue, run_id):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_thousand_turns_a_second_reach_every_listener(
    api: Process, client: httpx.AsyncClient, queue: Queue
) -> None:
    run_id = await submit(client)
    assert api.popen is not None
    process = psutil.Process(api.popen.pid)
    messages = [f"0 {number} {said('word ' * 50)}" for number in range(3000)]

    async def listen(begun: asyncio.Event) -> list[int]:
        seen: list[int] = []
        async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
            async for name, data in read_events(response):
                if name == "progress":
                    begun.set()
                if name == "turn":
                    seen.append(data["turn_index"])
                if len(seen) == len(messages):
                    return seen
        raise AssertionError("the stream ended")

    begun = [asyncio.Event() for _ in range(3)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        tasks = [group.create_task(listen(event)) for event in begun]
        for event in begun:
            await event.wait()
        before, started = process.cpu_times(), time.monotonic()
        for number, message in enumerate(messages):
            await queue._redis.publish(queue.key("events", run_id), message)
            ahead_s = number / 1000 - (time.monotonic() - started)
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
    assert [task.result() for task in tasks] == [list(range(3000))] * 3
    used_s = sum(process.cpu_times()[:2]) - sum(before[:2])
    took_s = time.monotonic() - started
    assert used_s < 0.7 * took_s, f"{used_s:.2f} s of a core in {took_s:.2f} s"


async def test_open_streams_do_not_hold_up_the_end(redis_server: RedisServer, tmp_path: Path) -> None:
    process = api_process(tmp_path, redis_server.url).start()
    async with httpx.AsyncClient(base_url=url_of(process), timeout=30) as client:
        run_id = await submit(client)
        async with client.stream("GET", f"/v1/runs/{run_id}/events") as response:
            events = read_events(response)
            assert (await anext(events))[0] == "progress"
            started = time.monotonic()
            ending = asyncio.create_task(asyncio.to_thread(process.end))
            with contextlib.suppress(httpx.RemoteProtocolError):
                assert [name async for name, _ in events if name != "progress"] == []
            await ending
            assert time.monotonic() - started < 3
    assert "Traceback" not in process.log.read_text()
