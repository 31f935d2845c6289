"""A conversation whose respondent is a chat API: what is asked and recorded, and what becomes of failures."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence

import httpx2
import pytest
from pydantic import SecretStr

from platolm.chat_apis.api import ChatApi
from platolm.chat_apis.budget import LocalBudget
from platolm.chat_apis.endpoints import ChatEndpoint, choose
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.pacing import LocalPacer
from platolm.chat_apis.prices import Prices
from platolm.chat_apis.speaker import ChatSpeaker
from platolm.conversation import ASSISTANT
from platolm.endings import FinishReason
from platolm.respondents import RESPONDENTS
from platolm.runs import PausedBy
from platolm.sampling import Sampling
from platolm.spec import Endings, SideSpec
from services.orchestrator.conversations.state import RecordedTurn, Remarks
from services.orchestrator.engines.chat_apis import ChatApis
from tests.unit.chat_apis.completions import completion, used
from tests.unit.orchestrator.runner.stage import SIMULATOR, Stage

WEIGHTS = {"a": 1.0, "b": 1.0}
RESPONDENT = SideSpec(profile="chat", apis=WEIGHTS, system_prompt="Be kind.")
CHOSEN = str(choose(WEIGHTS, 0, 7))
OTHER = "b" if CHOSEN == "a" else "a"
PRICES = Prices(input=1, output=1)
Answer = httpx2.Response | Exception


class Outside:
    """The two APIs' answers, taken one by one, and every request with the API that it went to."""

    def __init__(self, stage: Stage) -> None:
        self.answers: dict[str, list[Answer]] = {"a": [], "b": []}
        self.asked: list[tuple[str, list[dict[str, str]]]] = []
        self.num_streamed = 0
        self.stage = stage
        endpoints = {name: ChatEndpoint(url=f"http://{name}/v1", model=f"model of {name}") for name in WEIGHTS}
        stage.pools.apis = ChatApis(endpoints, self._opened)

    def answer(self, name: str, *answers: str | Answer) -> None:
        said = [_said(one) if isinstance(one, str) else one for one in answers]
        self.answers[name].extend(said)

    async def run(self, budget_nanos: int | None = None) -> None:
        """The conversation until its end, of two rounds."""
        self.stage.speakers[ASSISTANT] = ChatSpeaker(
            profile=RESPONDENTS["chat"],
            sampling=Sampling(max_tokens=64),
            context_tokens=4096,
            models={name: f"model of {name}" for name in WEIGHTS},
            budget=None if budget_nanos is None else LocalBudget(budget_nanos),
        )
        await self.stage.run(respondent=RESPONDENT, endings=Endings(max_turns=4))

    def names(self) -> list[str]:
        return [name for name, _ in self.asked]

    def recorded(self) -> Sequence[RecordedTurn]:
        return [RecordedTurn.from_json(turn) for turn in self.stage.queue.turns]

    def _opened(self, name: str, endpoint: ChatEndpoint) -> ChatApi:
        def handle(request: httpx2.Request) -> httpx2.Response:
            body = json.loads(request.content)
            self.asked.append((name, body["messages"]))
            self.num_streamed += body.get("stream", False)
            answer = self.answers[name].pop(0)
            if isinstance(answer, Exception):
                raise answer
            return answer

        client = httpx2.AsyncClient(transport=httpx2.MockTransport(handle))
        return ChatApi(name, endpoint, SecretStr("k"), LocalPacer(RateLimits()), PRICES, http_client=client)


def _said(text: str) -> httpx2.Response:
    return httpx2.Response(200, json=completion(text, "stop", **used(40, 5, 16)))


def _refused(status: int) -> httpx2.Response:
    return httpx2.Response(status, json={"error": {"message": "no"}})


@pytest.fixture
async def outside(stage: Stage) -> AsyncIterator[Outside]:
    stage.answers(SIMULATOR, "Hello?", "And then?")
    yield Outside(stage)
    await stage.pools.apis.close()


async def test_what_is_asked_and_recorded(outside: Outside) -> None:
    outside.answer(CHOSEN, "Hi.", "Nothing.")
    await outside.run()
    system, first = {"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hello?"}
    answered, second = {"role": "assistant", "content": "Hi."}, {"role": "user", "content": "And then?"}
    assert outside.asked == [(CHOSEN, [system, first]), (CHOSEN, [system, first, answered, second])]
    turn = outside.recorded()[1]
    assert (turn.content, turn.num_tokens, turn.num_prompt_tokens, turn.num_cached_tokens) == ("Hi.", 5, 40, 16)
    assert (turn.api, turn.token_ids, turn.finish_reason) == (CHOSEN, None, FinishReason.STOP)
    finished = outside.stage.queue.finished
    assert finished is not None
    assert [one["api"] for one in finished.record["turns"]] == [None, CHOSEN, None, CHOSEN]
    assert finished.record["respondent"]["model"] == f"model of {CHOSEN}"
    assert finished.record["simulator"]["model"] == "socratic"
    assert outside.stage.counted("generated_tokens_total", side="respondent") == 10


async def test_one_that_is_away_leaves_the_conversation_to_the_other_for_good(outside: Outside) -> None:
    away = httpx2.ConnectError("refused")
    outside.answer(CHOSEN, away, away)
    outside.answer(OTHER, "Hi.", "Nothing.")
    await outside.run()
    assert outside.names() == [CHOSEN, CHOSEN, OTHER, OTHER]
    assert outside.stage.queue.done[-1] == "finish 4"
    assert outside.stage.pools.apis.away(WEIGHTS) == {CHOSEN}


async def test_where_none_answers_the_conversation_waits_in_the_queue(outside: Outside) -> None:
    """A failure before counts nothing against it: what it asks does not take an API down."""
    away = httpx2.ConnectError("refused")
    outside.answer(CHOSEN, _refused(500), away)
    outside.answer(OTHER, away, away)
    await outside.run()
    assert outside.names() == [CHOSEN, CHOSEN, OTHER]
    assert outside.stage.queue.done == ["append 0", "release"]
    assert outside.stage.pools.apis.away(WEIGHTS) == {"a", "b"}


async def test_one_that_fails_again_and_again_is_left(outside: Outside) -> None:
    outside.answer(CHOSEN, *[_refused(500)] * 3)
    outside.answer(OTHER, "Hi.", "Nothing.")
    await outside.run()
    assert outside.names() == [CHOSEN] * 3 + [OTHER] * 2
    assert outside.stage.pools.apis.away(WEIGHTS) == set(), "it may do for others"


async def test_a_conversation_goes_on_with_the_api_that_it_spoke_with(outside: Outside) -> None:
    turns = [
        RecordedTurn("user", "Well?", FinishReason.STOP, 6, 10),
        RecordedTurn("assistant", "Hi.", FinishReason.STOP, 5, 40, remarks=Remarks(api=OTHER)),
    ]
    outside.stage.queue.turns = [turn.to_json() for turn in turns]
    outside.answer(OTHER, "Nothing.")
    await outside.run()
    assert outside.names() == [OTHER]


async def test_a_refused_key_pauses_the_run(outside: Outside) -> None:
    outside.answer(CHOSEN, _refused(401))
    await outside.run()
    assert outside.stage.queue.pause_reason is not None
    by, reason = outside.stage.queue.pause_reason
    assert by is PausedBy.WORKER
    assert reason.startswith(f"{CHOSEN} answered 401: no; its key is refused: ")
    assert outside.stage.queue.done[-1] == "release"


async def test_a_budget_that_is_spent_pauses_the_run_as_a_limit_of_it(outside: Outside) -> None:
    """Nothing is asked that may pass it; what was said stays."""
    outside.answer(CHOSEN, "Hi.")
    await outside.run(budget_nanos=130_000)  # the first may cost 85 tokens and costs 45, the next may cost above 100
    assert outside.names() == [CHOSEN]
    assert outside.stage.queue.pause_reason is not None
    by, reason = outside.stage.queue.pause_reason
    assert by is PausedBy.LIMIT
    assert reason.startswith("4.5e-05 of the budget of 0.00013 is spent, and the next request may cost 0.0001")
    assert outside.stage.queue.contents() == ["Hello?", "Hi.", "And then?"]
    assert outside.stage.queue.done[-1] == "release"


async def test_what_is_watched_is_streamed_and_comes_to_the_same(outside: Outside) -> None:
    stage = outside.stage
    stage.queue.watching = frozenset({"run-a-00000007"})
    await stage.watching.look()
    outside.answer(CHOSEN, _streamed("Hi", "."), _streamed("Nothing."))
    await outside.run()
    assert stage.queue.contents() == ["Hello?", "Hi.", "And then?", "Nothing."]
    assert outside.num_streamed == 2


def _streamed(*pieces: str) -> httpx2.Response:
    deltas: list[dict[str, str]] = [*({"content": piece} for piece in pieces), {}]
    choices = [{"index": 0, "delta": delta, "finish_reason": None if delta else "stop"} for delta in deltas]
    events = [b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" for choice in choices]
    content = b"".join([*events, b"data: [DONE]\n\n"])
    return httpx2.Response(200, content=content, headers={"content-type": "text/event-stream"})
