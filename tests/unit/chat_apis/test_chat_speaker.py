"""A side behind a chat API: what is asked, what is said, what it costs. No network: the transport is a function."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr

from platolm.chat_apis.api import ChatApi
from platolm.chat_apis.budget import LocalBudget
from platolm.chat_apis.endpoints import ChatEndpoint
from platolm.chat_apis.pace import HeardLimits, RateLimits, Reservation
from platolm.chat_apis.pacing import LocalPacer
from platolm.chat_apis.prices import Prices
from platolm.chat_apis.speaker import ChatSpeaker, ChatUtterance
from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.errors import BudgetSpentError, EngineAwayError, MisconfiguredError, SpeakerError
from platolm.respondents import RESPONDENTS
from platolm.sampling import Sampling
from platolm.simulators import PROFILES
from platolm.simulators.told import Told
from tests.unit.chat_apis.completions import completion, used

KEY = "sk-very-secret"
PRICES = Prices(input=1, output=4)
Handler = Callable[[httpx2.Request], httpx2.Response]


class Outside:
    """The API's side: answers in turn, and what was asked."""

    def __init__(self, *answers: httpx2.Response | Exception | Handler) -> None:
        self._answers = list(answers)
        self.requests: list[httpx2.Request] = []

    @property
    def bodies(self) -> list[dict[str, Any]]:
        return [json.loads(request.content) for request in self.requests]

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx2.Response) else answer(request)


class ToldPacer(LocalPacer):
    """Keeps what it was told."""

    def __init__(self) -> None:
        super().__init__(RateLimits(tokens=10**6))
        self.told: list[tuple[str, object]] = []

    async def settle(self, reservation: Reservation, tokens: int) -> None:
        self.told.append(("settle", (reservation.tokens, tokens)))

    async def release(self, reservation: Reservation) -> None:
        self.told.append(("release", reservation.tokens))

    async def throttled(self, reservation: Reservation, retry_after_s: float | None) -> None:
        self.told.append(("throttled", retry_after_s))

    async def heard(self, limits: HeardLimits) -> None:
        if limits != HeardLimits():
            self.told.append(("heard", limits))


def said(content: str | None = "Hello!", finish_reason: str = "stop", **usage: Any) -> httpx2.Response:
    return httpx2.Response(200, json=completion(content, finish_reason, **usage))


def refused(status: int, message: str = "no", headers: dict[str, str] | None = None, **error: Any) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": message, **error}}, headers=headers)


def opened(outside: Outside, *, prices: Prices | None = PRICES, **fields: Any) -> tuple[ChatApi, ToldPacer]:
    endpoint = ChatEndpoint.model_validate({"url": "https://api.example.com/v1", "model": "m", **fields})
    pacer = ToldPacer()
    http_client = httpx2.AsyncClient(transport=httpx2.MockTransport(outside))
    return ChatApi("api", endpoint, SecretStr(KEY), pacer, prices, http_client=http_client), pacer


def a_speaker(**fields: Any) -> ChatSpeaker:
    defaults = {"profile": RESPONDENTS["chat"], "sampling": Sampling(max_tokens=64), "context_tokens": 2048}
    return ChatSpeaker(**{**defaults, **fields})


async def spoken(api: ChatApi, speaker: ChatSpeaker, question: str = "Who are you?") -> ChatUtterance:
    prompt = speaker.new_prompt(Told(system_prompt="Be short."))
    prompt.add(USER, question)
    try:
        return await speaker.speak(api, prompt, seed=5)
    finally:
        await api.close()


async def test_what_is_asked_and_what_comes_of_it() -> None:
    outside = Outside(said("Hello!", **used(20, 3, 8)))
    api, pacer = opened(outside)
    speaker = a_speaker()
    utterance = await spoken(api, speaker)
    assert outside.bodies == [
        {
            "model": "m",
            "messages": [{"role": "system", "content": "Be short."}, {"role": "user", "content": "Who are you?"}],
            "max_tokens": 64,
            "seed": 5,
        }
    ]
    assert outside.requests[0].headers["authorization"] == f"Bearer {KEY}"
    assert utterance.content == "Hello!"
    assert (utterance.num_prompt_tokens, utterance.num_cached_tokens, utterance.num_tokens) == (20, 8, 3)
    assert utterance.finish_reason is FinishReason.STOP
    assert utterance.cost_nanos == 20 * 1000 + 3 * 4000
    assert pacer.told == [("settle", (6 + 6 + 3 + 6 + 4 + 64, 23))]
    assert (speaker.account.num_requests, speaker.account.cost_nanos) == (1, utterance.cost_nanos)


async def test_a_prompt_grows_and_knows_what_the_api_counted() -> None:
    outside = Outside(said("One.", **used(30, 2)), said("Two.", **used(50, 2)))
    api, _ = opened(outside)
    speaker = a_speaker()
    prompt = speaker.new_prompt()
    prompt.add(USER, "abc")
    assert len(prompt) == 6 + 6 + 1
    await speaker.speak(api, prompt, seed=1)
    assert len(prompt) == 30
    prompt.add(ASSISTANT, "One.")
    prompt.add(USER, "And?")
    assert len(prompt) == 30 + 2 * (6 + 2)
    assert speaker.room(prompt) == 2048 - 46
    await speaker.speak(api, prompt, seed=2)
    assert [message["content"] for message in outside.bodies[1]["messages"]] == ["abc", "One.", "And?"]
    await api.close()


async def test_what_an_endpoint_wants_otherwise() -> None:
    outside = Outside(said())
    fields: dict[str, Any] = {
        "max_tokens_field": "max_completion_tokens",
        "omit": ["temperature", "seed", "top_p"],
        "extra_body": {"reasoning_effort": "low"},
    }
    api, _ = opened(outside, **fields)
    await spoken(api, a_speaker(sampling=Sampling(max_tokens=9, top_k=40, repetition_penalty=1.2)))
    assert {name: value for name, value in outside.bodies[0].items() if name != "messages"} == {
        "model": "m",
        "max_completion_tokens": 9,
        "top_k": 40,
        "repetition_penalty": 1.2,
        "reasoning_effort": "low",
    }


async def test_a_simulator_is_told_and_shown_what_its_profile_says() -> None:
    outside = Outside(said("Why?", **used(20, 3)))
    api, _ = opened(outside)
    speaker = a_speaker(profile=PROFILES["userlm"], sampling=Sampling(max_tokens=9))
    told = Told(intent="You want to learn to swim.")
    prompt = speaker.new_prompt(told)
    prompt.add(USER, "Hi")
    prompt.add(ASSISTANT, "<think>A greeting.</think>Hello!")
    await speaker.speak(api, prompt, seed=1)
    await api.close()
    (body,) = outside.bodies
    assert body["messages"] == [
        {"role": "system", "content": PROFILES["userlm"].system_text(told)},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello!"},
    ]
    assert (body["temperature"], body["top_p"]) == (1.0, 0.8)


async def test_a_profile_may_leave_sampling_to_the_model() -> None:
    outside = Outside(said())
    api, _ = opened(outside)
    speaker = a_speaker(profile=PROFILES["osim"], sampling=Sampling(max_tokens=9))
    await speaker.speak(api, speaker.new_prompt(told=Told(profile="A student.")), seed=1)
    await api.close()
    assert {"temperature", "top_p"}.isdisjoint(outside.bodies[0])
    assert outside.bodies[0]["max_tokens"] == 9


async def test_azure_by_its_version() -> None:
    outside = Outside(said())
    api, _ = opened(outside, url="https://name.openai.azure.com", model="deployed", api_version="2024-10-21")
    await spoken(api, a_speaker())
    assert str(outside.requests[0].url) == (
        "https://name.openai.azure.com/openai/deployments/deployed/chat/completions?api-version=2024-10-21"
    )
    assert outside.requests[0].headers["api-key"] == KEY
    assert "authorization" not in outside.requests[0].headers


async def test_an_utterance_gets_no_more_than_the_room() -> None:
    outside = Outside(said("a b", "length", **used(14, 20)))
    api, _ = opened(outside)
    speaker = a_speaker(context_tokens=50)
    prompt = speaker.new_prompt()
    prompt.add(USER, "x" * 54)
    utterance = await speaker.speak(api, prompt, seed=1)
    assert outside.bodies[0]["max_tokens"] == 20
    assert utterance.finish_reason is FinishReason.CONTEXT
    await api.close()


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (said("a", "stop", **used(1, 64)), FinishReason.STOP),
        (said("a", "length", **used(1, 64)), FinishReason.LENGTH),
        (said("a", "length", **used(1, 63)), FinishReason.CONTEXT),
        (said("a", "length"), FinishReason.LENGTH),
    ],
)
async def test_why_an_utterance_ended(answer: httpx2.Response, reason: FinishReason) -> None:
    api, _ = opened(Outside(answer))
    assert (await spoken(api, a_speaker())).finish_reason is reason


async def test_an_api_that_does_not_count_is_estimated_and_not_believed_later() -> None:
    api, pacer = opened(Outside(said("abcdef")))
    speaker = a_speaker()
    prompt = speaker.new_prompt()
    prompt.add(USER, "abc")
    utterance = await speaker.speak(api, prompt, seed=1)
    assert (utterance.num_prompt_tokens, utterance.num_tokens, utterance.num_cached_tokens) == (13, 2, None)
    assert utterance.cost_nanos == 13 * 1000 + 2 * 4000
    assert speaker.account.num_estimated == 1
    assert pacer.told == []  # what was reserved stays
    await api.close()


@pytest.mark.parametrize(
    "refusal",
    [
        refused(400, "too long", code="context_length_exceeded"),
        refused(400, "This model's maximum context length is 2048 tokens. However, ..."),
        refused(400, "request (4390 tokens) exceeds the available context size (4096 tokens), try increasing it"),
        refused(400, "too long", type="exceed_context_size_error", n_ctx=4096),
        refused(500, "Context size has been exceeded."),
    ],
)
async def test_a_context_that_the_api_finds_full_ends_the_utterance(refusal: httpx2.Response) -> None:
    api, _ = opened(Outside(refusal))
    speaker = a_speaker(budget=LocalBudget(10**9))
    utterance = await spoken(api, speaker)
    assert (utterance.content, utterance.finish_reason) == ("", FinishReason.CONTEXT)
    assert (speaker.account.num_failed, speaker.account.cost_nanos) == (0, 0)
    assert speaker.budget is not None
    assert await speaker.budget.spent_nanos() == 0


@pytest.mark.parametrize(
    ("refusal", "error", "what"),
    [
        (refused(401, f"Incorrect API key provided: {KEY}."), MisconfiguredError, "answered 401: .*its key is refused"),
        (refused(403), MisconfiguredError, "its key is refused"),
        (refused(404, "no such model"), MisconfiguredError, "answered 404: no such model; check its url and model"),
        (refused(402), MisconfiguredError, "nothing left"),
        (refused(429, code="insufficient_quota"), MisconfiguredError, "nothing left"),
        (refused(429, headers={"Retry-After": "86400"}), MisconfiguredError, "a pause of 1440 minutes"),
        (
            refused(400, code="unsupported_parameter", param="max_tokens"),
            MisconfiguredError,
            "set max_tokens_field: max_completion_tokens",
        ),
        (
            refused(400, code="unsupported_value", param="temperature"),
            MisconfiguredError,
            "name temperature under omit",
        ),
        (httpx2.Response(307, headers={"Location": "https://elsewhere.example"}), MisconfiguredError, "check its url"),
        (refused(400, "cannot read"), SpeakerError, "answered 400: cannot read"),
    ],
)
async def test_refusals_that_are_for_good(refusal: httpx2.Response, error: type[SpeakerError], what: str) -> None:
    outside = Outside(refusal)
    api, _ = opened(outside)
    speaker = a_speaker()
    with pytest.raises(error, match=what) as caught:
        await spoken(api, speaker)
    assert type(caught.value) is error
    assert not caught.value.retryable
    assert KEY not in str(caught.value)
    assert len(outside.requests) == 1  # no redirect was followed, nothing asked again
    assert (speaker.account.num_failed, speaker.account.cost_nanos) == (1, 0)


@pytest.mark.parametrize(
    ("refusal", "status", "retry_after_s"),
    [
        (refused(500), 500, None),
        (refused(503, headers={"Retry-After": "3"}), 503, 3.0),
        (refused(408), 408, None),
        (refused(409), 409, None),
        (httpx2.Response(502, text="<html>Bad gateway</html>"), 502, None),
    ],
)
async def test_refusals_in_passing(refusal: httpx2.Response, status: int, retry_after_s: float | None) -> None:
    api, pacer = opened(Outside(refusal))
    with pytest.raises(SpeakerError, match=f"api answered {status}") as caught:
        await spoken(api, a_speaker())
    assert caught.value.retryable
    assert (caught.value.status, caught.value.retry_after_s) == (status, retry_after_s)
    assert pacer.told == []


async def test_too_many_requests_are_told_to_all() -> None:
    headers = {"retry-after-ms": "1500", "x-ratelimit-limit-requests": "60"}
    api, pacer = opened(Outside(refused(429, headers=headers)))
    speaker = a_speaker()
    with pytest.raises(SpeakerError) as caught:
        await spoken(api, speaker)
    assert (caught.value.retryable, caught.value.retry_after_s) == (True, 1.5)
    assert pacer.told == [("heard", HeardLimits(requests=60)), ("throttled", 1.5)]
    assert speaker.account.num_throttled == 1


async def test_an_answers_headers_are_heard() -> None:
    answer = httpx2.Response(200, json=completion("a"), headers={"x-ratelimit-limit-tokens": "9000"})
    api, pacer = opened(Outside(answer))
    await spoken(api, a_speaker())
    assert pacer.told == [("heard", HeardLimits(tokens=9000))]


async def test_who_is_not_there_costs_nothing() -> None:
    api, pacer = opened(Outside(httpx2.ConnectError(f"refused, with {KEY}")))
    speaker = a_speaker(budget=LocalBudget(10**9))
    with pytest.raises(EngineAwayError, match=r"api cannot be reached: .*refused, with") as caught:
        await spoken(api, speaker)
    assert caught.value.retryable
    assert KEY not in str(caught.value)
    assert [what for what, _ in pacer.told] == ["release"]
    assert speaker.budget is not None
    assert await speaker.budget.spent_nanos() == 0


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (httpx2.ReadTimeout("slow"), "did not answer in time"),
        (httpx2.ReadError("reset"), "did not answer whole"),
        (httpx2.RemoteProtocolError("cut"), "did not answer whole"),
        (httpx2.Response(200, text="<html>"), "gave no chat completion"),
        (httpx2.Response(200, json={"choices": []}), "gave no chat completion"),
    ],
)
async def test_what_may_have_been_answered_is_paid_for_in_full(answer: httpx2.Response | Exception, what: str) -> None:
    api, pacer = opened(Outside(answer))
    speaker = a_speaker(budget=LocalBudget(10**9))
    with pytest.raises(SpeakerError, match=what) as caught:
        await spoken(api, speaker)
    assert caught.value.retryable
    most = 25 * 1000 + 64 * 4000
    assert speaker.account.cost_nanos == most
    assert speaker.budget is not None
    assert await speaker.budget.spent_nanos() == most
    assert pacer.told == []


async def test_a_budget_is_settled_with_what_it_was() -> None:
    api, _ = opened(Outside(said("a", **used(10, 1))))
    speaker = a_speaker(budget=LocalBudget(10**9))
    await spoken(api, speaker)
    assert speaker.budget is not None
    assert await speaker.budget.spent_nanos() == 10 * 1000 + 4000


async def test_a_budget_that_is_spent_asks_nothing() -> None:
    outside = Outside()
    api, _ = opened(outside)
    with pytest.raises(BudgetSpentError):
        await spoken(api, a_speaker(budget=LocalBudget(1000)))
    assert outside.requests == []


async def test_what_is_too_large_for_a_minute_is_no_request() -> None:
    outside = Outside()
    endpoint = ChatEndpoint.model_validate({"url": "https://api.example.com/v1", "model": "m"})
    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(outside))
    api = ChatApi("api", endpoint, SecretStr(KEY), LocalPacer(RateLimits(tokens=50)), PRICES, http_client=transport)
    speaker = a_speaker(budget=LocalBudget(10**9))
    with pytest.raises(SpeakerError, match="lower max_tokens") as caught:
        await spoken(api, speaker)
    assert not caught.value.retryable
    assert (outside.requests, speaker.account.num_requests) == ([], 0)
    assert speaker.budget is not None
    assert await speaker.budget.spent_nanos() == 0


async def test_a_budget_needs_prices() -> None:
    api, _ = opened(Outside(), prices=None)
    with pytest.raises(MisconfiguredError, match=r"api: the price of m is not known, .*add it to the price table"):
        await spoken(api, a_speaker(budget=LocalBudget(10**9)))


async def test_without_a_budget_prices_may_be_unknown() -> None:
    api, _ = opened(Outside(said("a", **used(10, 1))), prices=None)
    speaker = a_speaker()
    assert (await spoken(api, speaker)).cost_nanos is None
    assert speaker.account.num_unpriced == 1


async def test_a_request_that_is_cancelled_on_its_way_is_paid_for_one_that_waits_is_not() -> None:
    sent = asyncio.Event()

    async def never(_request: httpx2.Request) -> httpx2.Response:
        sent.set()
        await asyncio.Event().wait()
        raise AssertionError

    endpoint = ChatEndpoint.model_validate(
        {"url": "https://api.example.com/v1", "model": "m", "limits": {"in_flight": 1}}
    )
    transport = httpx2.AsyncClient(transport=httpx2.MockTransport(never))
    api = ChatApi("api", endpoint, SecretStr(KEY), LocalPacer(RateLimits()), PRICES, http_client=transport)
    budget = LocalBudget(10**9)
    speaker = a_speaker(budget=budget)
    prompt = speaker.new_prompt()
    on_its_way, waiting = (asyncio.create_task(speaker.speak(api, prompt, seed=i)) for i in range(2))
    await sent.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert await budget.spent_nanos() == 0
    on_its_way.cancel()
    await asyncio.gather(on_its_way, return_exceptions=True)
    assert await budget.spent_nanos() == 6 * 1000 + 64 * 4000
    await api.close()


def events(*chunks: dict[str, Any]) -> bytes:
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + b"data: [DONE]\n\n"


def streamed(content: bytes, cut_every: int) -> httpx2.Response:
    """A stream that is cut anywhere, in the middle of characters too."""

    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), cut_every):
            yield content[start : start + cut_every]

    return httpx2.Response(200, content=pieces(), headers={"content-type": "text/event-stream"})


@pytest.mark.parametrize("cut_every", [1, 7, 10_000])
async def test_a_stream_is_shown_as_it_comes(cut_every: int) -> None:
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in ("Grü", "ß", " dich")]
    end: list[dict[str, Any]] = [
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
        {"choices": [], "usage": used(9, 4)},
    ]
    outside = Outside(streamed(events(*chunks, *end), cut_every))
    api, pacer = opened(outside)
    speaker, shown = a_speaker(), list[str]()
    prompt = speaker.new_prompt()
    prompt.add(USER, "Hallo")
    utterance = await speaker.speak(api, prompt, seed=1, show=shown.append)
    assert shown == ["Grü", "Grüß", "Grüß dich"]
    assert (utterance.content, utterance.num_tokens) == ("Grüß dich", 4)
    assert outside.bodies[0]["stream"] is True
    assert outside.bodies[0]["stream_options"] == {"include_usage": True}
    assert [what for what, _ in pacer.told] == ["settle"]
    await api.close()


async def test_an_api_that_streams_nothing_may_answer_whole() -> None:
    api, _ = opened(Outside(said("Hello!")), omit=["stream_options"])
    speaker, shown = a_speaker(), list[str]()
    utterance = await speaker.speak(api, speaker.new_prompt(Told(system_prompt="Go.")), seed=1, show=shown.append)
    assert (utterance.content, shown) == ("Hello!", [])
    await api.close()


@pytest.mark.parametrize(
    ("content", "error", "what"),
    [
        (events({"error": {"message": "worn out", "code": 500}}), SpeakerError, "gave no chat completion: .*worn out"),
        (b'data: {"choices": [{"delta": {"content": "Hel"}}]}\n\n', SpeakerError, "stopped in the middle"),
        (b'data: {"choi\n\n', SpeakerError, "gave no chat completion"),
    ],
)
async def test_streams_that_fail(content: bytes, error: type[SpeakerError], what: str) -> None:
    api, _ = opened(Outside(streamed(content, 10_000)))
    speaker = a_speaker()
    with pytest.raises(error, match=what) as caught:
        await speaker.speak(api, speaker.new_prompt(Told(system_prompt="Go.")), seed=1, show=lambda _: None)
    assert caught.value.retryable
    assert speaker.account.cost_nanos > 0  # it may have been generated
    await api.close()


async def test_a_context_that_is_full_in_the_middle_of_a_stream() -> None:
    content = events({"error": {"message": "Context size has been exceeded.", "type": "server_error", "code": 500}})
    api, _ = opened(Outside(streamed(content, 10_000)))
    speaker = a_speaker()
    utterance = await speaker.speak(api, speaker.new_prompt(Told(system_prompt="Go.")), seed=1, show=lambda _: None)
    assert utterance.finish_reason is FinishReason.CONTEXT
    await api.close()


async def test_a_check_before_the_run() -> None:
    outside = Outside(httpx2.Response(200, json={"object": "list", "data": []}), refused(401))
    api, _ = opened(outside)
    await api.check()
    with pytest.raises(MisconfiguredError, match="its key is refused"):
        await api.check()
    assert [request.url.path for request in outside.requests] == ["/v1/models"] * 2
    await api.close()
