"""Engines that move, hang, and those who wait for them."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from platolm.engine_client import EngineClient, RequestBody
from platolm.errors import SpeakerError
from services.orchestrator.engines.errors import HungEngineError
from services.orchestrator.engines.replicas import REFUSED_FOR_S, Replica
from tests.unit.orchestrator.replicas.engines import HANG_AFTER_S, A, B, reading, replica, waiting
from tests.unit.orchestrator.stopped_clock import StoppedClock


@pytest.mark.parametrize(
    ("looks", "hung"),
    [
        # (iterations, running, seconds): whether it is hung after each.
        ([(0, 1, 0.0), (0, 1, 59.9), (0, 1, 60.0), (0, 1, 61.0)], [False, False, True, True]),
        ([(5, 1, 50.0), (5, 1, 109.9), (5, 1, 110.0)], [False, False, True]),
        ([(5, 1, 50.0), (6, 1, 109.9), (6, 1, 169.8), (6, 1, 169.95)], [False, False, False, True]),
        # Nothing to do is no hang, however long, nor are requests that came since.
        ([(5, 0, 50.0), (5, 0, 999.0), (5, 1, 1000.0), (5, 1, 1059.0), (5, 1, 1060.0)], [False] * 4 + [True]),
        # The same where no look came through for long: at the start, before the requests, and while it works.
        ([(0, 1, 500.0), (0, 1, 559.0), (0, 1, 560.0)], [False, False, True]),
        ([(5, 0, 0.0), (5, 1, 500.0), (5, 1, 559.0), (5, 1, 560.0)], [False, False, False, True]),
        ([(5, 1, 0.0), (6, 1, 500.0), (6, 1, 559.0)], [False, False, False]),
        ([(5, 1, 0.0), (5, 0, 500.0), (5, 1, 501.0), (5, 1, 560.0)], [False, False, False, False]),
        # It moves again, or starts anew with other counts: used again.
        ([(5, 1, 0.0), (5, 1, 60.0), (6, 1, 61.0), (6, 1, 120.0)], [False, True, False, False]),
        ([(5, 1, 0.0), (5, 1, 60.0), (0, 0, 61.0)], [False, True, False]),
        ([(5, 1, 0.0), (5, 1, 60.0), (2, 1, 61.0)], [False, True, False]),
    ],
)
def test_an_engine_with_requests_and_without_iterations_hangs(
    looks: list[tuple[float, int, float]], hung: list[bool]
) -> None:
    engine = replica()
    found = []
    for iterations, running, now in looks:
        engine.note(reading(iterations, running), now, hang_after_s=HANG_AFTER_S)
        found.append(engine.is_hung)
        assert engine.is_usable(now) is not engine.is_hung
    assert found == hung
    assert engine.reading == reading(*looks[-1][:2])


@pytest.mark.parametrize(
    ("refused_until", "is_hung", "now", "usable"),
    [(0.0, False, 0.0, True), (5.0, False, 4.9, False), (5.0, False, 5.0, True), (0.0, True, 9.0, False)],
)
def test_what_may_get_conversations(refused_until: float, is_hung: bool, now: float, usable: bool) -> None:
    engine = replica()
    engine.refused_until, engine.is_hung = refused_until, is_hung
    assert engine.is_usable(now) is usable


def test_one_that_failed_is_passed_over_for_a_while(clock: StoppedClock) -> None:
    engine = replica()
    engine.refuse()
    assert not engine.is_usable(clock.now + REFUSED_FOR_S - 0.01)
    assert engine.is_usable(clock.now + REFUSED_FOR_S)


def hang(engine: Replica) -> None:
    engine.note(reading(), 0.0, hang_after_s=HANG_AFTER_S)
    engine.note(reading(), HANG_AFTER_S, hang_after_s=HANG_AFTER_S)


async def test_an_engine_found_hung_wakes_everyone_who_waits() -> None:
    engine, other = replica(A), replica(B)
    tasks = await waiting(engine, 3)
    [elsewhere] = await waiting(other)
    hang(engine)
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(answer) for answer in answers] == [HungEngineError] * 3
    assert all(isinstance(answer, SpeakerError) and answer.retryable and A in str(answer) for answer in answers)
    assert engine.speaking == set()
    assert other.speaking == {elsewhere}
    elsewhere.cancel()


async def test_one_who_was_woken_goes_on_as_if_never_cancelled() -> None:
    engine = replica()

    async def speak_twice() -> str:
        with pytest.raises(HungEngineError):
            async with engine.waited_for():
                await asyncio.Event().wait()
        task = asyncio.current_task()
        assert task is not None
        assert task.cancelling() == 0
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        async with engine.waited_for():
            return "spoken"

    task = asyncio.create_task(speak_twice())
    await asyncio.sleep(0)
    assert engine.speaking == {task}
    hang(engine)
    assert await task == "spoken"


async def test_who_begins_to_wait_after_the_hang_was_found_is_not_woken_by_it() -> None:
    engine = replica()
    hang(engine)
    [task] = await waiting(engine)
    engine.note(reading(), HANG_AFTER_S + 1, hang_after_s=HANG_AFTER_S)
    await asyncio.sleep(0)
    assert not task.done()
    task.cancel()


async def test_a_real_cancellation_stays_one() -> None:
    engine = replica()
    [task] = await waiting(engine)
    task.cancel("stop")
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()
    assert engine.speaking == set()


@pytest.mark.parametrize("first", ["abandoned", "cancelled"])
async def test_both_at_once_stay_a_cancellation(first: str) -> None:
    engine = replica()
    [task] = await waiting(engine)
    if first == "abandoned":
        engine.abandon()
        task.cancel()
    else:
        task.cancel()
        engine.abandon()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_answer_that_came_in_the_same_moment_may_be_given_up() -> None:
    """The task was about to run on with it; it must not be cancelled for good."""
    engine = replica()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def speak() -> str:
        async with engine.waited_for():
            return await answer

    task = asyncio.create_task(speak())
    await asyncio.sleep(0)
    assert engine.speaking == {task}
    answer.set_result("spoken")
    engine.abandon()
    with pytest.raises(HungEngineError):
        await task


async def test_other_errors_pass_through() -> None:
    engine = replica()
    with pytest.raises(SpeakerError, match="busy"):
        async with engine.waited_for():
            raise SpeakerError("busy")
    assert engine.speaking == set()


@pytest.mark.parametrize("answers", ["never", "half"])
async def test_a_request_that_waits_for_a_hung_engine_is_given_up(answers: str) -> None:
    asked = asyncio.Event()

    async def handler(request: web.Request) -> web.StreamResponse:
        if answers == "half":
            response = web.StreamResponse()
            await response.prepare(request)
            await response.write(b"{")
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    async with TestServer(app) as server, aiohttp.ClientSession() as session:
        engine = Replica(EngineClient(session, str(server.make_url("/v1"))))

        async def speak() -> None:
            async with engine.waited_for():
                await engine.engine.complete(RequestBody(b"{}"))

        task = asyncio.create_task(speak())
        await asked.wait()
        engine.abandon()
        with pytest.raises(HungEngineError):
            await task
