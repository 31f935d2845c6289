"""What goes wrong at a server, and what becomes of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from curation.evaluation.endpoint import EndpointSettings, Usage, open_endpoint
from curation.evaluation.evaluate import evaluate
from platolm.errors import EngineAwayError, InputError, MisconfiguredError, OccupiedError, SpeakerError
from platolm.held import held
from tests.fakes.chat_server import Body, ChatServer, Refusal, echo
from tests.integration.curation.evaluation.conftest import PlanMaker
from tests.redis_server import free_port
from tests.unit.curation.evaluation.question_files import read_lines

HELLO = [{"role": "user", "content": "Hello there"}]


class Quiet:
    """Nobody looks on."""

    def begin(self, _what: str, _total: int) -> Callable[[], None]:
        return lambda: None


def settings_for(server: ChatServer, **changes: object) -> EndpointSettings:
    return replace(EndpointSettings("judge", server.url, "JUDGE_KEY", max_retries=2), **changes)  # type: ignore[arg-type]


async def test_an_answer_with_its_tokens(judge: ChatServer) -> None:
    judge.says = lambda _body: "I am well"
    async with open_endpoint(settings_for(judge)) as endpoint:
        reply = await endpoint.ask(HELLO, temperature=0.5)
    assert (endpoint.model, reply.text, reply.usage) == ("gpt-4", "I am well", Usage(2, 3))


@pytest.mark.parametrize("status", [408, 409, 429, 500, 503])
async def test_what_may_pass_is_asked_again(judge: ChatServer, status: int) -> None:
    judge.refusals.append(Refusal(status, headers={"retry-after-ms": "20"}))
    async with open_endpoint(settings_for(judge)) as endpoint:
        await endpoint.ask(HELLO)
    assert len(judge.asked) == 2


async def test_retry_after_is_waited_for(judge: ChatServer) -> None:
    judge.refusals.append(Refusal(429, headers={"Retry-After": "1.5"}))
    async with open_endpoint(settings_for(judge)) as endpoint:
        started = time.monotonic()
        await endpoint.ask(HELLO)
    assert 1.5 <= time.monotonic() - started < 10


async def test_an_outage_that_lasts_stops_all(judge: ChatServer) -> None:
    judge.refusals.extend([Refusal(503, headers={"retry-after-ms": "5"})] * 3)
    async with open_endpoint(settings_for(judge)) as endpoint:
        with pytest.raises(SpeakerError, match=r"the judge at .* says: .*made to fail.* \(HTTP 503\)") as caught:
            await endpoint.ask(HELLO)
    assert caught.value.retryable
    assert len(judge.asked) == 3


@pytest.mark.parametrize("body", ["", "{", '{"choices": []}', '{"choices": null}', "[]", "null", '"well"'])
async def test_what_is_no_chat_completion_is_one_line(judge: ChatServer, body: str) -> None:
    judge.refusals.append(Refusal(200, body=body))
    async with open_endpoint(settings_for(judge)) as endpoint:
        with pytest.raises(SpeakerError, match=r"the judge at .* gave (no chat completion|an answer that cannot be)"):
            await endpoint.ask(HELLO)


async def test_the_servers_own_words_are_told(judge: ChatServer) -> None:
    judge.refusals.append(Refusal(400, "Use max_completion_tokens."))
    async with open_endpoint(settings_for(judge)) as endpoint:
        with pytest.raises(SpeakerError, match=r"/v1 says: Use max_completion_tokens\. \(HTTP 400\)$"):
            await endpoint.ask(HELLO)


async def test_a_wrong_key_is_said_in_one_line_and_asked_once(judge: ChatServer) -> None:
    judge.api_key = "right"
    for changes in ({"api_key": "wrong", "model": "gpt-4"}, {"model": "gpt-4"}, {}):
        with pytest.raises(MisconfiguredError, match=r"refuses the key \(HTTP 401\): give it by JUDGE_KEY$"):
            async with open_endpoint(settings_for(judge, **changes)):
                pass
    async with open_endpoint(settings_for(judge, api_key="right")) as endpoint:
        judge.api_key = "another"
        with pytest.raises(MisconfiguredError, match=r"refuses the key \(HTTP 401\): give it by JUDGE_KEY$"):
            await endpoint.ask(HELLO)
    assert judge.asked == []


async def test_a_model_that_is_not_served(judge: ChatServer) -> None:
    async with open_endpoint(settings_for(judge, model="gpt-5")) as endpoint:
        with pytest.raises(MisconfiguredError, match=r"does not exist.*HTTP 404.*is the model's name right"):
            await endpoint.ask(HELLO)


async def test_a_named_model_is_asked_where_no_list_is_served(judge: ChatServer) -> None:
    judge.lists_models = False
    async with open_endpoint(settings_for(judge, model="gpt-4")) as endpoint:
        assert (await endpoint.ask(HELLO)).text == "It will do.\n[[8]]"
    with pytest.raises(SpeakerError, match="HTTP 404"):
        async with open_endpoint(settings_for(judge)):
            pass


async def test_several_models_and_none_named() -> None:
    refused = pytest.raises(MisconfiguredError, match=r"serves 2 models \(one, two\): name one")
    with ChatServer(("one", "two")).running() as server, refused:
        async with open_endpoint(settings_for(server)):
            pass


async def test_nobody_there() -> None:
    settings = EndpointSettings("judge", f"http://127.0.0.1:{free_port()}/v1", "JUDGE_KEY", max_retries=0)
    with pytest.raises(EngineAwayError, match="does not answer"):
        async with open_endpoint(settings):
            pass


@pytest.mark.parametrize("changes", [{"url": "127.0.0.1:8000"}, {"api_key": "two\nlines"}, {"api_key": "ключ"}])
async def test_what_cannot_be_an_address_or_a_key(judge: ChatServer, changes: dict[str, str]) -> None:
    with pytest.raises(InputError):
        async with open_endpoint(settings_for(judge, **changes)):
            pass


@pytest.mark.parametrize("side", ["respondent", "judge"])
async def test_a_side_that_is_away_is_told_before_anything_is_asked_or_written(
    plan_of: PlanMaker, respondent: ChatServer, side: str
) -> None:
    plan = plan_of()
    assert plan.judge is not None
    away = EndpointSettings(side, f"http://127.0.0.1:{free_port()}/v1", "KEY", model="named", max_retries=0)
    changed = {"respondent": away} if side == "respondent" else {"judge": replace(plan.judge, endpoint=away)}
    with pytest.raises(EngineAwayError, match=f"the {side} at .* does not answer"):
        await evaluate(replace(plan, **changed), Quiet())
    assert respondent.asked == []
    assert not (plan.out / "question.jsonl").exists()


async def test_answers_are_kept_when_the_judge_turns_away(
    plan_of: PlanMaker, respondent: ChatServer, judge: ChatServer
) -> None:
    def answer(body: Body) -> str:
        judge.api_key = "right"
        return echo(body)

    respondent.says = answer
    plan = plan_of()
    with pytest.raises(MisconfiguredError, match="the judge at"):
        await evaluate(plan, Quiet())
    assert len(read_lines(plan.out / "model_answer" / "demo.jsonl")) == 4
    num_asked = len(respondent.asked)
    assert plan.judge is not None
    right = replace(plan.judge, endpoint=replace(plan.judge.endpoint, api_key="right"))
    assert (await evaluate(replace(plan, judge=right), Quiet())).is_complete
    assert len(respondent.asked) == num_asked


async def test_no_more_at_a_time_than_was_said(plan_of: PlanMaker, respondent: ChatServer) -> None:
    respondent.latency_s = 0.05
    plan = plan_of(judge=None)
    await evaluate(replace(plan, respondent=replace(plan.respondent, concurrency=3)), Quiet())
    assert respondent.most_in_flight == 3


async def test_an_interrupted_evaluation_keeps_what_it_has(plan_of: PlanMaker, respondent: ChatServer) -> None:
    plan = plan_of(judge=None)
    plan = replace(plan, respondent=replace(plan.respondent, concurrency=1))
    respondent.hold_after(5)
    task = asyncio.create_task(evaluate(plan, Quiet()))
    assert await asyncio.to_thread(respondent.wait_until_held, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    respondent.go_on()
    answers = plan.out / "model_answer" / "demo.jsonl"
    assert [row["question_id"] for row in read_lines(answers)] == [81, 111]
    assert (await evaluate(plan, Quiet())).is_complete
    assert [row["question_id"] for row in read_lines(answers)] == [81, 111, 112, 151]


async def test_one_at_a_time_in_a_folder(plan_of: PlanMaker) -> None:
    plan = plan_of()
    with held(plan.out, busy="another platolm eval is writing to"), pytest.raises(OccupiedError, match="platolm eval"):
        await evaluate(plan, Quiet())
