"""Chat APIs as a worker knows them: looked at, passed over, chosen for conversations."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any, cast

import pytest

from platolm.chat_apis.api import ChatApi
from platolm.chat_apis.endpoints import ChatEndpoint, choose
from platolm.errors import EngineAwayError, MisconfiguredError, SpeakerError
from services.orchestrator.engines import chat_apis
from services.orchestrator.engines.chat_apis import ApiPool, ApiSeat, ChatApis, OutsideApi
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.queue import Offer
from tests.unit.orchestrator.stopped_clock import StoppedClock

AWAY = EngineAwayError("cannot be reached", retryable=True)
REFUSED = MisconfiguredError("its key is refused", status=401)
WEIGHTS = {"a": 3.0, "b": 1.0, "c": 2.0}


class StubApi:
    """Answers a check with nothing, an error, or never."""

    def __init__(self, name: str, endpoint: ChatEndpoint) -> None:
        self.name = name
        self.endpoint = endpoint
        self.answer: Exception | None = None
        self.hangs = False
        self.checks = 0
        self.is_closed = False

    async def check(self) -> None:
        self.checks += 1
        if self.hangs:
            await asyncio.sleep(3600)
        if self.answer is not None:
            raise self.answer

    async def close(self) -> None:
        self.is_closed = True


class Opened:
    """Opens stubs, and remembers them."""

    def __init__(self) -> None:
        self.stubs: dict[str, StubApi] = {}
        self.answers: dict[str, Exception] = {}

    def __call__(self, name: str, endpoint: ChatEndpoint) -> ChatApi:
        stub = self.stubs[name] = StubApi(name, endpoint)
        stub.answer = self.answers.get(name)
        return cast("ChatApi", stub)


@pytest.fixture
def opened() -> Opened:
    return Opened()


@pytest.fixture
def apis(opened: Opened) -> ChatApis:
    endpoints = {name: ChatEndpoint(url=f"http://{name}/v1", model=f"model of {name}") for name in "abc"}
    return ChatApis(endpoints, opened)


def seat(apis: ChatApis, index: int = 0, spoke: str | None = None, **weights: float) -> ApiSeat:
    return ApiSeat(apis, weights or WEIGHTS, run_seed=7, index=index, spoke=lambda: spoke)


@pytest.mark.parametrize(
    ("answer", "is_away"),
    [
        (None, False),
        (AWAY, True),
        (SpeakerError("did not answer in time", retryable=True), True),
        (SpeakerError("broken", status=503, retryable=True), True),
        (SpeakerError("wait", status=429, retryable=True), False),
        (SpeakerError("what?", status=400), False),
        (MisconfiguredError("no list here", status=404), False),
        (MisconfiguredError("no such way", status=405), False),
    ],
)
async def test_what_a_look_tells(apis: ChatApis, opened: Opened, answer: Exception | None, is_away: bool) -> None:
    api = apis.get("a")
    opened.stubs["a"].answer = answer
    await api.look()
    assert api.is_away is is_away
    assert apis.away(["a", "b"]) == ({"a"} if is_away else set())


async def test_an_api_that_hangs_is_away(apis: ChatApis, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chat_apis, "LOOK_TIMEOUT_S", 0.01)
    api = apis.get("a")
    opened.stubs["a"].hangs = True
    await api.look()
    assert api.is_away


async def test_a_refused_key_is_told_and_read_anew(apis: ChatApis, opened: Opened) -> None:
    opened.answers["b"] = REFUSED
    with pytest.raises(MisconfiguredError, match="its key is refused"):
        await apis.check(["a", "b"])
    refused = opened.stubs["b"]
    assert refused.is_closed
    assert not opened.stubs["a"].is_closed
    del opened.answers["b"]
    await apis.check(["a", "b"])
    assert opened.stubs["b"] is not refused


async def test_a_key_that_was_changed_is_taken_at_the_next_begin_of_a_run(apis: ChatApis, opened: Opened) -> None:
    await apis.check(["a"])
    before = opened.stubs["a"]
    before.answer = REFUSED
    await apis.check(["a"])
    assert opened.stubs["a"] is not before
    assert (before.is_closed, before.checks, opened.stubs["a"].checks) == (True, 2, 1)


async def test_a_run_begins_where_one_of_its_apis_answers(apis: ChatApis, opened: Opened) -> None:
    opened.answers.update(a=AWAY, b=AWAY)
    await apis.check(["a", "b", "c"])
    assert apis.away("abc") == {"a", "b"}
    with pytest.raises(NoReplicaError, match="no chat API answers: a, b") as caught:
        await apis.check(["a", "b"])
    assert caught.value.retryable


async def test_one_that_nobody_knows(apis: ChatApis) -> None:
    with pytest.raises(MisconfiguredError, match=r"this worker knows no chat API 'x', but a, b, c: see PLATOLM_"):
        await apis.check(["x"])
    with pytest.raises(MisconfiguredError, match="'x', but none"):
        chat_apis.no_chat_apis().get("x")


async def test_those_that_are_away_are_looked_at_now_and_then(
    apis: ChatApis, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    monkeypatch.setattr(chat_apis, "time", clock)
    for name in "ab":
        apis.get(name)
    apis.get("a").refuse()
    clock.now += chat_apis.LOOK_EVERY_S - 0.1
    await apis.look_again("abc")
    assert apis.away("abc") == {"a"}
    clock.now += 0.1
    opened.stubs["a"].answer = REFUSED  # an answer: the run that asks it will be told
    await apis.look_again("abc")
    assert apis.away("abc") == set()
    assert {name: stub.checks for name, stub in opened.stubs.items()} == {"a": 1, "b": 0}


async def test_a_pool_is_one_place_while_an_api_of_it_answers(
    apis: ChatApis, opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    monkeypatch.setattr(chat_apis, "time", clock)
    pool = ApiPool(apis, "apis:a,b")
    assert (pool.name, pool.urls, pool.kind) == ("a, b", (), "chat API")
    assert (pool.offers(), pool.unusable_since) == ([Offer("apis:a,b", 0)], None)
    apis.get("a").refuse()
    assert (pool.usable(), pool.offers()) == (["b"], [Offer("apis:a,b", 0)])
    apis.get("b").refuse()
    assert (pool.offers(), pool.unusable_since) == ([], clock.now)
    since = clock.now
    clock.now += chat_apis.LOOK_EVERY_S
    opened.stubs["b"].answer = AWAY
    opened.stubs["a"].answer = AWAY
    await pool.refresh()
    assert (pool.usable(), pool.unusable_since) == ([], since)
    clock.now += chat_apis.LOOK_EVERY_S
    opened.stubs["b"].answer = None
    await pool.refresh()
    assert (pool.usable(), pool.unusable_since) == (["b"], None)


def test_conversations_are_spread_by_weight_and_stay(apis: ChatApis) -> None:
    names = [seat(apis, index).api().name for index in range(600)]
    assert names == [choose(WEIGHTS, 7, index) for index in range(600)]
    assert [round(count / 100) for _, count in sorted(Counter(names).items())] == [3, 1, 2]
    assert seat(apis, 5).api() is seat(apis, 5).api()


def test_a_conversation_keeps_the_api_that_it_spoke_with(apis: ChatApis) -> None:
    others = [name for name in WEIGHTS if name != choose(WEIGHTS, 7, 0)]
    assert [seat(apis, spoke=name).api().name for name in others] == others
    assert seat(apis, spoke="of another spec").api().name == choose(WEIGHTS, 7, 0)
    apis.get(others[0]).refuse()
    assert seat(apis, spoke=others[0]).api().name == choose(WEIGHTS, 7, 0)


def test_from_one_that_is_away_only_its_conversations_move(apis: ChatApis) -> None:
    before = [choose(WEIGHTS, 7, index) for index in range(100)]
    apis.get("a").refuse()
    after = [seat(apis, index).api().name for index in range(100)]
    assert "a" not in after
    assert [(one, other) for one, other in zip(before, after, strict=True) if one not in ("a", other)] == []


def test_leaving_passes_an_api_over_for_all(apis: ChatApis) -> None:
    mine = seat(apis, 0, a=1, b=1)
    first = mine.api().name
    mine.leave()
    second = mine.api().name
    assert {first, second} == {"a", "b"}
    assert apis.away("ab") == {first}
    with pytest.raises(NoReplicaError):
        mine.leave()
    assert apis.away("ab") == {"a", "b"}


def test_one_that_only_fails_is_left_by_this_conversation_alone(apis: ChatApis) -> None:
    mine = seat(apis, 0)
    order = [mine.api().name]
    for _ in range(3):
        mine.try_another()
        order.append(mine.api().name)
    assert set(order[:3]) == {"a", "b", "c"}
    assert order[3] == order[2], "there is no other"
    assert apis.away("abc") == set()


async def test_all_are_closed(apis: ChatApis, opened: Opened) -> None:
    for name in "abc":
        apis.get(name)
    await apis.close()
    assert [stub.is_closed for stub in opened.stubs.values()] == [True] * 3


async def test_an_api_waits_for_nobody(apis: ChatApis) -> None:
    api: Any = apis.get("a")
    assert isinstance(api, OutsideApi)
    async with api.waited_for():
        assert (api.url, api.name) == ("http://a/v1", "a")
