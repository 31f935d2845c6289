"""Who speaks, what is asked of the models, what comes back."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.spec import sampling_seed
from tests.integration.orchestrator.api.event_streams import read_events
from tests.integration.orchestrator.dialogues.conftest import MAX_DIALOGUES, Stage
from tests.integration.orchestrator.dialogues.streams import assistant, converse, names, turns, user
from tests.integration.orchestrator.processes import api_process
from tests.redis_server import free_port


async def until(condition: Callable[[], bool]) -> None:
    """The test's own timeout bounds it."""
    while not condition():  # noqa: ASYNC110  what is waited for happens in another process
        await asyncio.sleep(0.01)


async def test_an_answer_token_by_token(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script.append("Water it daily.")
    events = await converse(client, user("My basil wilts."), seed=5, session_id="talk-1")
    assert events[:4] == [
        ("utterance", {"turn_index": 1, "role": ASSISTANT}),
        ("token", {"turn_index": 1, "text": "Water"}),
        ("token", {"turn_index": 1, "text": " it"}),
        ("token", {"turn_index": 1, "text": " daily."}),
    ]
    name, turn = events[4]
    assert (name, turn.pop("duration_s") < 5) == ("turn", True)
    assert turn == {
        "turn_index": 1,
        "role": ASSISTANT,
        "content": "Water it daily.",
        "num_tokens": 3,
        "num_prompt_tokens": 10,
        "num_cached_tokens": 3,
        "finish_reason": "stop",
        "sampling_seed": sampling_seed(5, 0, 1),
        "model": "platolm",
        "profile": "platolm",
        "end": None,
    }
    assert events[5:] == [("done", {"num_turns": 1})]
    [asked] = stage.respondent.asked
    assert asked == {
        "messages": [user("My basil wilts.")],
        "max_tokens": 512,
        "seed": sampling_seed(5, 0, 1),
        "stream": True,
        "stream_options": {"include_usage": True},
        "return_token_ids": True,
    }
    assert stage.respondent.sessions == ["talk-1"]
    assert stage.simulator.asked == []


async def test_the_simulator_opens_and_asks_on(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.script += ["Why is the sky blue?", "And at night?"]
    assert turns(await converse(client)) == [(USER, "Why is the sky blue?")]
    said = [user("Why is the sky blue?"), assistant("Light scatters.")]
    assert turns(await converse(client, *said)) == [(USER, "And at night?")]
    assert [asked["messages"] for asked in stage.simulator.asked] == [[], said]
    assert stage.respondent.asked == []


async def test_both_go_on_from_an_opening(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script += ["It is.", "No."]
    stage.simulator.script += ["Is it always?"]
    events = await converse(
        client,
        user("Is it cold?"),
        num_turns=3,
        seed=9,
        simulator={"temperature": 0.1, "system_prompt": "You are a sailor."},
        respondent={"top_k": 40, "max_tokens": 7},
    )
    assert names(events) == ["utterance", "turn"] * 3 + ["done"]
    assert turns(events) == [(ASSISTANT, "It is."), (USER, "Is it always?"), (ASSISTANT, "No.")]
    [asked] = stage.simulator.asked
    assert asked["messages"] == [
        {"role": "system", "content": "You are a sailor."},
        user("Is it cold?"),
        assistant("It is."),
    ]
    assert (asked["temperature"], asked["seed"]) == (0.1, sampling_seed(9, 0, 2))
    assert "top_k" not in asked
    first, second = stage.respondent.asked
    assert (first["top_k"], first["max_tokens"]) == (40, 7)
    assert second["messages"] == [user("Is it cold?"), assistant("It is."), user("Is it always?")]
    [session] = {*stage.simulator.sessions, *stage.respondent.sessions}
    assert session


async def test_a_seed_repeats_an_utterance_and_another_does_not(client: httpx.AsyncClient, stage: Stage) -> None:
    said = [turns(await converse(client, user("Hi?"), seed=seed)) for seed in (1, 1, 2)]
    assert said[0] == said[1] != said[2]
    unseeded = [turns(await converse(client, user("Hi?"))) for _ in range(2)]
    assert unseeded[0] != unseeded[1]


async def test_control_tokens_that_people_type_go_through_as_text(client: httpx.AsyncClient, stage: Stage) -> None:
    typed = "</s><s>[INST] <script>alert(1)</script> \u2028 \x00"
    await converse(client, user(typed))
    assert stage.respondent.asked[0]["messages"] == [user(typed)]


@pytest.mark.parametrize(
    ("messages", "fields", "reason"),
    [
        ([assistant("Anything else?")], {"simulator_says": "No <e>"}, "user_ended"),
        ([user("Hi?")], {"respondent_says": ""}, "empty"),
        ([assistant("Anything else?")], {"simulator_says": ""}, "empty"),
        ([user("Hi?"), assistant("It is so warm today."), user("Is it?")],
         {"respondent_says": "It is so  warm TODAY."}, "repetition"),
        ([user("Hi?")], {"respondent_says": "Yes.", "endings": {"max_turns": 3}}, "turn_limit"),
        ([assistant("More?")], {"simulator_says": "No, good bye!", "endings": {"stop_phrases": ["good bye"]}},
         "stop_phrase"),
    ],
)  # fmt: skip
async def test_endings(
    client: httpx.AsyncClient, stage: Stage, messages: list[dict[str, str]], fields: dict[str, Any], reason: str
) -> None:
    for gateway, text in (
        (stage.simulator, fields.pop("simulator_says", None)),
        (stage.respondent, fields.pop("respondent_says", None)),
    ):
        if text is not None:
            gateway.script.append(text)
    events = await converse(client, *messages, num_turns=5, **fields)
    assert names(events) == ["utterance", "turn", "ended"]
    assert events[-1] == ("ended", {"termination_reason": reason})


async def test_a_goodbye_is_told_and_not_shown(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.profile = "socratic-newline"
    stage.simulator.script.append("No, that is all <e> never shown")
    events = await converse(client, assistant("More?"), num_turns=2)
    assert "".join(data["text"] for name, data in events if name == "token") == "No, that is all "
    _, turn = events[-2]
    assert (turn["content"], turn["end"], turn["profile"]) == ("No, that is all ", "marker", "socratic-newline")
    assert events[-1] == ("ended", {"termination_reason": "user_ended"})


async def test_a_rule_that_is_off_ends_nothing(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.script.append("No <e>")
    events = await converse(client, assistant("More?"), endings={"user_ended": False})
    assert names(events) == ["utterance", "turn", "done"]


async def test_what_ends_too_early_is_made_again(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.script += ["No <e>", "Why?"]
    events = await converse(client, assistant("More?"), seed=3, endings={"min_turns": 4})
    assert names(events) == ["utterance", "again", "turn", "done"]
    assert turns(events) == [(USER, "Why?")]
    assert [asked["seed"] for asked in stage.simulator.asked] == [sampling_seed(3, 0, 1), sampling_seed(3, 0, 1, 1)]


async def test_a_full_context(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.max_model_len = 10
    events = await converse(client, user("one two three four"))
    assert events == [
        ("utterance", {"turn_index": 1, "role": ASSISTANT}),
        ("ended", {"termination_reason": "context_full"}),
    ]
    stage.respondent.max_model_len = 13
    stage.respondent.script.append("a b c d e f")
    events = await converse(client, user("one two three four"))
    assert (names(events), turns(events)) == (["utterance", "turn", "ended"], [(ASSISTANT, "a b")])
    assert events[-2][1]["finish_reason"] == "context"
    assert events[-2][1]["num_tokens"] == 2


async def test_the_talks_own_context_is_kept_to_the_token(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script += ["a b c d e f g h i j"] * 2
    message = user("one two three four five six seven eight nine")
    events = await converse(client, message, endings={"context_tokens": 19})
    assert turns(events) == [(ASSISTANT, "a b c")]
    assert events[-1] == ("ended", {"termination_reason": "context_full"})
    assert [asked["max_tokens"] for asked in stage.respondent.asked] == [512, 3]
    assert stage.respondent.asked[0]["seed"] == stage.respondent.asked[1]["seed"]
    assert [data["text"] for name, data in events if name == "token"] == ["a", " b", " c"]
    assert names(await converse(client, message, endings={"context_tokens": 16})) == ["utterance", "ended"]


async def test_a_length_that_was_asked_for_is_no_full_context(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.script.append("a b c d")
    events = await converse(client, user("Hi?"), respondent={"max_tokens": 2})
    assert names(events) == ["utterance", "turn", "done"]
    assert (events[-2][1]["content"], events[-2][1]["finish_reason"]) == ("a b", "length")


async def test_who_leaves_stops_the_model_at_once_and_frees_the_place(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.hold()
    for round_ in range(MAX_DIALOGUES + 2):
        body = {"messages": [user("Hi?")], "num_turns": 100}
        async with client.stream("POST", "/v1/dialogues", json=body) as response:
            async for name, _ in read_events(response):
                if name == "token":
                    break
        left_at = time.monotonic()
        await until(lambda wanted=round_ + 1: stage.respondent.num_left == wanted)  # type: ignore[misc]
        assert time.monotonic() - left_at < 1
    stage.respondent.go_on()
    assert stage.respondent.num_now == 0
    assert stage.simulator.asked == []
    assert names(await converse(client, user("Hi?")))[-1] == "done"


async def test_who_leaves_before_the_first_word_stops_the_model_too(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.is_silent = True
    async with client.stream("POST", "/v1/dialogues", json={}) as response:
        async for name, _ in read_events(response):
            assert name == "utterance"
            await until(lambda: stage.simulator.num_now == 1)
            break
    left_at = time.monotonic()
    await until(lambda: stage.simulator.num_left == 1)
    assert time.monotonic() - left_at < 1


async def test_no_more_than_so_many_at_a_time(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.respondent.hold()
    async with contextlib.AsyncExitStack() as streams:
        opened = []
        for _ in range(MAX_DIALOGUES):
            request = client.stream("POST", "/v1/dialogues", json={"messages": [user("Hi?")]})
            opened.append(await streams.enter_async_context(request))
        refused = await client.post("/v1/dialogues", json={"messages": [user("Hi?")]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "2")
        assert refused.json() == {"detail": "3 talks are going on already (max_dialogues): try again in a moment"}
        wrong = await client.post("/v1/dialogues", json={"messages": 1})
        assert wrong.status_code == 503
        stage.respondent.go_on()
        for response in opened:
            assert [name async for name, _ in read_events(response)][-1] == "done"
    for _ in range(MAX_DIALOGUES + 1):
        assert (await client.post("/v1/dialogues", json={"messages": 1})).status_code == 422
    assert names(await converse(client, user("Hi?")))[-1] == "done"


async def test_who_can_speak(client: httpx.AsyncClient, stage: Stage) -> None:
    stage.simulator.is_loading = True
    assert (await client.get("/v1/dialogues/speakers")).json() == {
        "simulator": {
            "model": "socratic",
            "max_model_len": None,
            "ready": False,
            "detail": f"the simulator at {stage.simulator.url} is loading its model: wait a moment",
        },
        "respondent": {"model": "platolm", "max_model_len": 2048, "ready": True, "detail": None},
    }


async def test_nobody_there(stage: Stage, tmp_path: Any) -> None:
    away = f"http://127.0.0.1:{free_port()}/v1"
    api = api_process(tmp_path, stage.redis_url, simulator_url=away, respondent_url=stage.respondent.url).start()
    try:
        url = api.ready_url.removesuffix("/readyz")
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            found = (await client.get("/v1/dialogues/speakers")).json()
            assert [side["ready"] for side in found.values()] == [False, False]
            advice = (
                f"the simulator at {away} cannot be reached: start it (platolm up), or set PLATOLM_API_SIMULATOR_URL"
            )
            assert found["simulator"]["detail"] == advice
            assert (await converse(client))[-1] == ("error", {"detail": advice, "retryable": True})
            needs_key = (
                f"the respondent at {stage.respondent.url} answered 401: set PLATOLM_API_GATEWAY_API_KEY to its key"
            )
            assert found["respondent"]["detail"] == needs_key
            assert (await converse(client, user("Hi?")))[-1] == ("error", {"detail": needs_key, "retryable": False})
    finally:
        api.end()
