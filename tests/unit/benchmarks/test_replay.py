"""The bare client: what it sends, in which order, how much at a time."""

from __future__ import annotations

import asyncio
from collections import Counter

import orjson
import pytest
from aiohttp import web

from benchmarks.recorded import RecordedRequest
from benchmarks.replay import prepare, replay
from platolm.conversation import ASSISTANT, USER
from platolm.errors import SpeakerError
from platolm.sampling import PAPERS_SAMPLING, Sampling
from tests.serving import serving

URLS = {USER: "http://simulator/v1", ASSISTANT: "http://respondent/v1"}
MODELS = {USER: "socratic", ASSISTANT: "platolm"}


class Completions:
    """Answers each prompt `[conversation, position]` with as many tokens as it asks for, and keeps the order."""

    def __init__(self, status: int = 200) -> None:
        self.seen: list[tuple[int, int]] = []
        self.in_flight: Counter[int] = Counter()
        self.most_conversations = 0
        self.most_of_one = 0
        self._status = status

    async def answer(self, request: web.Request) -> web.Response:
        body = orjson.loads(await request.read())
        conversation, position = body["prompt"]
        self.seen.append((conversation, position))
        self.in_flight[conversation] += 1
        self.most_conversations = max(self.most_conversations, sum(n > 0 for n in self.in_flight.values()))
        self.most_of_one = max(self.most_of_one, self.in_flight[conversation])
        await asyncio.sleep(0.002)
        self.in_flight[conversation] -= 1
        return web.json_response({"usage": {"completion_tokens": body["max_tokens"]}}, status=self._status)

    def app(self) -> web.Application:
        app = web.Application()
        app.add_routes([web.post("/v1/completions", self.answer)])
        return app


def conversation(number: int, num_requests: int) -> list[RecordedRequest]:
    roles = (USER, ASSISTANT)
    return [RecordedRequest(roles[n % 2], [number, n], 10 + n, 100 + n) for n in range(num_requests)]


def test_a_request_is_the_workers_with_its_length_forced() -> None:
    ((first, second),) = prepare([conversation(3, 2)], URLS, MODELS, Sampling(temperature=0.5, top_p=0.9))
    assert [first[0], second[0]] == ["http://simulator/v1/completions", "http://respondent/v1/completions"]
    assert orjson.loads(second[1]) == {
        "model": "platolm",
        "prompt": [3, 1],
        "max_tokens": 11,
        "ignore_eos": True,
        "seed": 101,
        "temperature": 0.5,
        "top_p": 0.9,
        "return_token_ids": True,
    }


async def test_conversations_begin_in_order_and_each_asks_one_by_one() -> None:
    completions = Completions()
    with serving(completions.app()) as address:
        urls = dict.fromkeys(URLS, f"{address}/v1")
        prepared = prepare([conversation(n, 4) for n in range(9)], urls, MODELS, Sampling(**PAPERS_SAMPLING))
        replayed = await replay(prepared, in_flight=3)
    assert replayed.generated_tokens == 9 * (10 + 11 + 12 + 13)
    assert replayed.seconds > 0
    assert (completions.most_conversations, completions.most_of_one) == (3, 1)
    assert [n for n, position in completions.seen if position == 0] == list(range(9))
    for number in range(9):
        assert [position for n, position in completions.seen if n == number] == [0, 1, 2, 3]


async def test_a_refusal_ends_the_measurement() -> None:
    with serving(Completions(status=400).app()) as address:
        prepared = prepare(
            [conversation(0, 1)], dict.fromkeys(URLS, f"{address}/v1"), MODELS, Sampling(**PAPERS_SAMPLING)
        )
        with pytest.raises(SpeakerError, match="answered 400"):
            await replay(prepared, in_flight=8)
