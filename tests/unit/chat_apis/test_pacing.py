"""Waiting for one's turn, in virtual time: thousands of conversations against an API that counts every minute."""

from __future__ import annotations

import asyncio
import random

import httpx2
import pytest
from pydantic import SecretStr

from platolm.chat_apis.api import ChatApi
from platolm.chat_apis.endpoints import ChatEndpoint, EndpointLimits
from platolm.chat_apis.pace import HeardLimits, RateLimits, Reservation
from platolm.chat_apis.pacing import LocalPacer
from platolm.chat_apis.speaker import ChatSpeaker
from platolm.conversation import ASSISTANT, USER
from platolm.errors import MisconfiguredError, SpeakerError
from platolm.respondents import RESPONDENTS
from platolm.sampling import Sampling
from tests.fakes.rate_window import RateWindow
from tests.unit.chat_apis.completions import completion
from tests.virtual_time import in_virtual_time

CONVERSATIONS = 5_000
A_MINUTE = 600


class Api:
    """Counts requests as they arrive, some time after they were sent, and answers some time later."""

    def __init__(self, window: RateWindow) -> None:
        self.window = window
        self.num_arrived = 0
        self._way = random.Random(1)

    async def handle(self, _request: httpx2.Request) -> httpx2.Response:
        await asyncio.sleep(self._way.uniform(0.02, 0.5))
        self.num_arrived += 1
        if not self.window.admits(now()):
            return httpx2.Response(429, json={"error": {"message": "too many"}})
        await asyncio.sleep(self._way.uniform(0.5, 20.0))
        return httpx2.Response(200, json=completion("fine"))


def now() -> float:
    return asyncio.get_running_loop().time()


def test_five_thousand_conversations_keep_a_limit_and_use_it() -> None:
    """600 requests a minute: never one more in any minute, and not 2 % less over the whole run."""

    async def main() -> tuple[Api, float]:
        api = Api(RateWindow(A_MINUTE))
        endpoint = ChatEndpoint(
            url="http://api/v1", model="m", limits=EndpointLimits(requests_per_minute=A_MINUTE, in_flight=CONVERSATIONS)
        )
        transport = httpx2.AsyncClient(transport=httpx2.MockTransport(api.handle))
        opened = ChatApi(
            "api", endpoint, SecretStr("k"), LocalPacer(endpoint.rate_limits()), None, http_client=transport
        )
        speaker = ChatSpeaker(RESPONDENTS["chat"], Sampling(max_tokens=16), 2048)
        await asyncio.gather(*(converse(opened, speaker, 1 + index % 2) for index in range(CONVERSATIONS)))
        await opened.close()
        assert speaker.account.num_requests == api.num_arrived
        return api, now()

    async def converse(api: ChatApi, speaker: ChatSpeaker, rounds: int) -> None:
        prompt = speaker.new_prompt()
        for round_number in range(rounds):
            prompt.add(USER, "And then?")
            utterance = await speaker.speak(api, prompt, seed=round_number)
            prompt.add(ASSISTANT, utterance.content)

    api, took_s = in_virtual_time(main())
    assert api.num_arrived == 7_500
    assert api.window.num_refused == 0
    assert 0.98 * A_MINUTE <= api.window.worst <= A_MINUTE
    all_sent_s = took_s - 20.5  # the last answer's way and making
    assert 7_500 / all_sent_s * 60 >= 0.98 * A_MINUTE


def test_tokens_are_kept_and_used_although_answers_are_shorter_than_reserved() -> None:
    """Every request may use 400 tokens and uses 200. What is on its way, 2 % of a minute's, counts as 400."""

    async def main() -> tuple[int, float]:
        pacer, window = LocalPacer(RateLimits(tokens=60_000)), RateWindow(60_000)

        async def request() -> None:
            reservation = await pacer.take(400)
            assert window.admits(now(), 200)
            await asyncio.sleep(1)
            await pacer.settle(reservation, 200)

        await asyncio.gather(*(request() for _ in range(6000)))
        return window.worst, now()

    worst, took_s = in_virtual_time(main())
    assert worst <= 60_000
    assert 6000 * 200 / took_s * 60 >= 0.96 * 60_000


def test_an_api_that_bears_less_than_was_stated_is_found_out() -> None:
    """Stated are 600 a minute, it bears 300: few are refused, and most of the 300 are used."""

    async def main() -> RateWindow:
        pacer, window = LocalPacer(RateLimits(600)), RateWindow(300)
        answered = 0

        async def request() -> None:
            nonlocal answered
            while True:
                reservation = await pacer.take(0)
                await asyncio.sleep(0.2)
                if window.admits(now()):
                    await asyncio.sleep(2)
                    await pacer.settle(reservation, 0)
                    answered += 1
                    return
                await pacer.throttled(reservation, window.room_in_s(now()))

        await asyncio.gather(*(request() for _ in range(3000)))
        assert answered == 3000
        assert 600 <= now() <= 900
        return window

    window = in_virtual_time(main())
    assert window.num_refused <= 150


@pytest.mark.parametrize("retry_after_s", [None, 7.0])
def test_one_refusal_makes_everyone_wait(retry_after_s: float | None) -> None:
    async def main() -> float:
        pacer = LocalPacer(RateLimits())
        await pacer.throttled(await pacer.take(0), retry_after_s)
        await asyncio.gather(*(pacer.take(0) for _ in range(3)))
        return now()

    assert in_virtual_time(main()) >= (retry_after_s or 1.0)


def test_turns_are_taken_in_the_order_of_asking() -> None:
    async def main() -> list[int]:
        pacer, order = LocalPacer(RateLimits(60)), list[int]()

        async def ask(number: int) -> None:
            await pacer.take(0)
            order.append(number)

        await asyncio.gather(*(ask(number) for number in range(20)))
        return order

    assert in_virtual_time(main()) == list(range(20))


def test_tokens_given_back_let_the_next_one_go_at_once() -> None:
    async def main() -> float:
        pacer = LocalPacer(RateLimits(tokens=1000))
        reservation = await pacer.take(1000)
        waiting = asyncio.create_task(pacer.take(10))
        await asyncio.sleep(1)
        await pacer.release(reservation)
        await waiting
        return now()

    assert in_virtual_time(main()) == pytest.approx(1.0)


def test_who_is_cancelled_while_waiting_has_taken_nothing() -> None:
    async def main() -> Reservation:
        pacer = LocalPacer(RateLimits(1))
        await pacer.take(0)
        waiting = [asyncio.create_task(pacer.take(0)) for _ in range(3)]
        await asyncio.sleep(1)
        for task in waiting[:2]:
            task.cancel()
        reservation = await waiting[2]
        assert all(task.cancelled() for task in waiting[:2])
        return reservation

    assert in_virtual_time(main()).at == pytest.approx(60.5, abs=0.26)


def test_a_request_that_no_minute_has_room_for_is_refused_at_once() -> None:
    async def main() -> None:
        with pytest.raises(SpeakerError, match=r"up to 1001 tokens is above the API's 1000 a minute: lower max_tokens"):
            await LocalPacer(RateLimits(tokens=1000)).take(1001)

    in_virtual_time(main())


def test_a_pause_that_takes_too_long_is_for_a_person() -> None:
    async def main() -> None:
        pacer = LocalPacer(RateLimits())
        await pacer.heard(HeardLimits(pause_s=7200))
        with pytest.raises(MisconfiguredError, match="a pause of 120 minutes"):
            await pacer.take(0)
        assert now() == 0

    in_virtual_time(main())
