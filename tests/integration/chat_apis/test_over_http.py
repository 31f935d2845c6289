"""Chat APIs over real sockets: a scripted server, with faults, limits and a key."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager

import pytest
from pydantic import SecretStr

from platolm.chat_apis.api import ChatApi
from platolm.chat_apis.budget import LocalBudget
from platolm.chat_apis.endpoints import ChatEndpoint
from platolm.chat_apis.pacing import LocalPacer
from platolm.chat_apis.prices import Prices
from platolm.chat_apis.speaker import ChatSpeaker, ChatUtterance
from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.errors import BudgetSpentError, EngineAwayError, MisconfiguredError, SpeakerError
from platolm.respondents import RESPONDENTS
from platolm.sampling import Sampling
from platolm.simulators.told import Told
from tests.fakes.faults import Fault
from tests.fakes.openai_server import MODEL, OpenAIServer, Refusal, letters
from tests.fakes.rate_window import RateWindow
from tests.redis_server import free_port

KEY = "sk-secret-of-the-test"
PRICES = Prices(input=1000, output=1000)  # a million billionths a token


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer(api_key=KEY).running() as server:
        yield server


@asynccontextmanager
async def opened(server: OpenAIServer, key: str = KEY, **fields: object) -> AsyncIterator[ChatApi]:
    endpoint = ChatEndpoint.model_validate({"url": server.url, "model": MODEL, "timeout_s": 5, **fields})
    api = ChatApi("api", endpoint, SecretStr(key), LocalPacer(endpoint.rate_limits()), PRICES)
    try:
        yield api
    finally:
        await api.close()


def a_speaker(budget: LocalBudget | None = None) -> ChatSpeaker:
    return ChatSpeaker(RESPONDENTS["chat"], Sampling(max_tokens=8), 2048, budget=budget)


async def speak(
    api: ChatApi, speaker: ChatSpeaker, question: str = "one two three", show: Callable[[str], None] | None = None
) -> ChatUtterance:
    prompt = speaker.new_prompt()
    prompt.add(USER, question)
    return await speaker.speak(api, prompt, seed=1, show=show)


async def test_a_conversation(server: OpenAIServer) -> None:
    speaker = a_speaker()
    prompt = speaker.new_prompt(Told(system_prompt="Be brief."))
    async with opened(server) as api:
        for question in ("How?", "And then?"):
            prompt.add(USER, question)
            prompt.add(ASSISTANT, (await speaker.speak(api, prompt, seed=3)).content)
    assert [message["content"] for message in prompt.messages()] == [
        "Be brief.", "How?", "answer 2 to How?", "And then?", "answer 4 to And then?",
    ]  # fmt: skip
    assert [body["messages"] for body in server.asked] == [prompt.messages()[:2], prompt.messages()[:4]]
    assert speaker.account.prompt_tokens == 3 + 9
    assert speaker.account.generated_tokens == 4 + 5


async def test_a_stream_in_the_smallest_pieces_comes_to_the_same(server: OpenAIServer) -> None:
    server.pieces = letters
    shown: list[str] = []
    async with opened(server) as api:
        streamed = await speak(api, a_speaker(), show=shown.append)
        whole = await speak(api, a_speaker())
    assert streamed.content == whole.content == "answer 1 to one two three"
    assert shown == [whole.content[:end] for end in range(1, len(whole.content) + 1)]
    assert (streamed.num_prompt_tokens, streamed.num_tokens) == (whole.num_prompt_tokens, whole.num_tokens) == (3, 6)


async def test_azure(server: OpenAIServer) -> None:
    async with opened(server, url=server.azure_url, api_version="2024-10-21") as api:
        assert (await speak(api, a_speaker())).content == "answer 1 to one two three"
    assert server.asked_paths == [f"/openai/deployments/{MODEL}/chat/completions?api-version=2024-10-21"]


@pytest.mark.parametrize("azure", [False, True])
async def test_a_wrong_key_is_told_in_seconds_and_not_shown(server: OpenAIServer, azure: bool) -> None:
    fields = {"url": server.azure_url, "api_version": "2024-10-21"} if azure else {}
    started = time.monotonic()
    async with opened(server, "sk-wrong-and-long", **fields) as api:
        with pytest.raises(MisconfiguredError, match=r"answered 401: Incorrect API key .*its key is refused") as caught:
            await speak(api, a_speaker())
    assert time.monotonic() - started < 5
    assert "sk-wrong" not in str(caught.value)
    assert len(server.asked) == 1


async def test_a_wrong_key_is_found_before_anything_is_asked(server: OpenAIServer) -> None:
    async with opened(server) as api:
        await api.check()
    async with opened(server, "sk-wrong-and-long") as api:
        with pytest.raises(MisconfiguredError, match="its key is refused"):
            await api.check()
    assert server.asked == []


async def test_another_model(server: OpenAIServer) -> None:
    async with opened(server, model="other") as api:
        with pytest.raises(MisconfiguredError, match=r"`other` does not exist\.; check its url and model"):
            await speak(api, a_speaker())


async def test_a_redirect_is_not_followed_with_the_key(server: OpenAIServer) -> None:
    server.spoilers = deque([Refusal(307, headers={"Location": "/v1/models"})])
    async with opened(server) as api:
        with pytest.raises(MisconfiguredError, match=r"answered 307: .*; check its url and model"):
            await speak(api, a_speaker())


async def test_a_full_context(server: OpenAIServer) -> None:
    server.context_tokens = 2
    async with opened(server) as api:
        assert (await speak(api, a_speaker())).finish_reason is FinishReason.CONTEXT


IN_PASSING = [
    Refusal(500),
    Refusal(503, headers={"Retry-After": "0"}),
    Fault.DROPPED,
    Fault.RESET,
    Fault.TRUNCATED,
    Fault.NOT_JSON,
    Fault.STRANGE,
]


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("spoiler", IN_PASSING, ids=str)
async def test_what_fails_in_passing_may_be_asked_again(
    server: OpenAIServer, spoiler: Refusal | Fault, streaming: bool
) -> None:
    server.spoilers = deque([spoiler])
    async with opened(server) as api:
        with pytest.raises(SpeakerError) as caught:
            await speak(api, a_speaker(), show=(lambda _: None) if streaming else None)
        assert caught.value.retryable
        assert str(caught.value).startswith("api ")
        assert not isinstance(caught.value, MisconfiguredError)
        assert (await speak(api, a_speaker())).content == "answer 1 to one two three"
    assert len(server.asked) == 2


async def test_a_connection_that_ends_is_not_taken_for_silence(server: OpenAIServer) -> None:
    server.spoilers = deque([Fault.DROPPED])
    async with opened(server) as api:
        with pytest.raises(SpeakerError, match="did not answer whole: ServerDisconnectedError"):
            await speak(api, a_speaker())


@pytest.mark.parametrize("streaming", [False, True], ids=["whole", "streamed"])
async def test_silence_is_given_up(server: OpenAIServer, streaming: bool) -> None:
    server.spoilers = deque([Fault.STALLED])
    async with opened(server, timeout_s=0.5) as api:
        with pytest.raises(SpeakerError, match="did not answer in time") as caught:
            await speak(api, a_speaker(), show=(lambda _: None) if streaming else None)
    assert caught.value.retryable


async def test_a_slow_answer_is_one(server: OpenAIServer) -> None:
    server.spoilers = deque([Fault.SLOW])
    async with opened(server, timeout_s=0.5) as api:
        assert (await speak(api, a_speaker())).content == "answer 1 to one two three"


async def test_nobody_there(server: OpenAIServer) -> None:
    budget = LocalBudget(10**9)
    async with opened(server, url=f"http://127.0.0.1:{free_port()}/v1") as api:
        with pytest.raises(EngineAwayError, match="api cannot be reached"):
            await speak(api, a_speaker(budget))
    assert await budget.spent_nanos() == 0


async def test_no_more_in_flight_than_the_endpoint_bears(server: OpenAIServer) -> None:
    server.latency_s = 0.02
    async with opened(server, limits={"in_flight": 3}) as api:
        await asyncio.gather(*(speak(api, a_speaker()) for _ in range(12)))
    assert server.most_in_flight == 3


async def test_a_limit_in_real_time(server: OpenAIServer) -> None:
    """1200 a minute for some seconds: never more than 24 and a slot's credit in any 1.2 seconds."""
    spacing_s = 60.75 / 1200
    server.requests = RateWindow(round((1.2 + 0.25) / spacing_s) + 2, length_s=1.2)
    async with opened(server, limits={"requests_per_minute": 1200}) as api:
        started = time.monotonic()
        await asyncio.gather(*(speak(api, a_speaker()) for _ in range(80)))
        took_s = time.monotonic() - started
    assert server.requests.num_refused == 0
    assert 80 * spacing_s - 0.5 <= took_s <= 80 * spacing_s + 2


async def test_refusals_for_too_many_are_waited_for(server: OpenAIServer) -> None:
    """The server bears 5 in 0.5 s, nothing is stated: everyone waits as it asks, and all are answered."""
    server.requests = RateWindow(5, length_s=0.5)
    speaker, failures = a_speaker(), list[SpeakerError]()

    async def until_answered(api: ChatApi) -> ChatUtterance:
        while True:
            try:
                return await speak(api, speaker)
            except SpeakerError as error:
                failures.append(error)

    async with opened(server) as api:
        await asyncio.gather(*(until_answered(api) for _ in range(12)))
    assert server.num_answered == 12
    assert {(error.status, error.retryable) for error in failures} == {(429, True)}
    assert len(failures) == speaker.account.num_throttled == server.requests.num_refused <= 40


async def test_a_budget_stops_the_slots(server: OpenAIServer) -> None:
    """A request costs 3 + 6 tokens, and may cost 17 + 8."""
    limit, a_token = 1000, 10**6
    budget = LocalBudget(limit * a_token)
    speaker = a_speaker(budget)

    async def slot(api: ChatApi) -> None:
        while True:
            await speak(api, speaker)

    async with opened(server) as api:
        results = await asyncio.gather(*(slot(api) for _ in range(16)), return_exceptions=True)
    assert [type(result) for result in results] == [BudgetSpentError] * 16
    assert speaker.account.cost_nanos == await budget.spent_nanos() == 9 * a_token * server.num_answered
    assert limit - 25 < 9 * server.num_answered <= limit
