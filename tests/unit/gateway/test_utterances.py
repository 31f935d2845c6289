from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.simulators.guardrails import Fault, Step
from platolm.simulators.told import NOTHING_TOLD
from platolm.tokenizer import HubTokenizer
from services.gateway.chat import ChatChunks, chat_object
from services.gateway.judging import Judge
from services.gateway.settings import GatewaySettings
from services.gateway.sides import Asked, Side, side_of
from services.gateway.utterances import HeardStream
from tests.unit.simulators.tokenizers import END_CONVERSATION, EOT

TALK = [Message(SYSTEM, "You want to know how moles dig."), Message(USER, "what is it"), Message(ASSISTANT, "A mole.")]
FINE = "how do moles dig so fast"
USAGE = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}

Faults = Counter[tuple[Fault, Step]]


@pytest.fixture
def userlm(llama3: HubTokenizer) -> Side:
    return side_of(GatewaySettings(profile="userlm"), llama3)


@pytest.fixture
def asked(userlm: Side) -> Asked:
    return userlm.read(TALK, NOTHING_TOLD)


def choice(text: str, finish_reason: str | None = "stop", stop_reason: object = EOT, index: int = 0) -> dict[str, Any]:
    return {"index": index, "text": text, "finish_reason": finish_reason, "stop_reason": stop_reason}


class Engine:
    """Answers one after the other, a choice each; keeps what it was asked."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self._answers: Iterator[dict[str, Any]] = iter(answers)
        self.asked: list[Mapping[str, Any]] = []

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        choices = [{**next(self._answers), "index": i} for i in range(body.get("n", 1))]
        return {"id": "cmpl-1", "created": 1, "choices": choices, "usage": dict(USAGE)}


async def judged(
    side: Side, asked: Asked, engine: Engine, *, fills_context: bool = False, retries: int = 3, **body: Any
) -> tuple[dict[str, Any], Faults]:
    faults: Faults = Counter()

    def count(fault: Fault, step: Step) -> None:
        faults[fault, step] += 1

    judge = Judge(engine.complete, side, asked, fills_context, retries, count)
    return await judge.reply({"prompt": asked.ids, "temperature": 1.0, **body}), faults


def ending(ended: bool = False, why: str | None = None, **faults: int) -> dict[str, Any]:
    return {"ended": ended, "why": why, "faults": faults, "goodbye_probability": None}


@pytest.mark.parametrize(
    ("answer", "content", "expected"),
    [
        (choice(f"\n{FINE} "), FINE, ending()),
        (choice(FINE, stop_reason=END_CONVERSATION), FINE, ending(True, "goodbye")),
        (choice(FINE + " ", stop_reason="<|endconversation|>"), FINE, ending(True, "goodbye")),
        (choice(f"{FINE}<|endconversation|>more", "length", None), FINE, ending(True, "goodbye")),
        (choice("", stop_reason=END_CONVERSATION), "", ending(True, "goodbye")),
        (choice("\n  "), "", ending(True, "blank")),
        (choice(f"<think>moles?</think>\n{FINE}"), FINE, ending()),
        (choice(FINE, "length", None), FINE, ending()),
    ],
)
async def test_what_is_kept_and_how_it_ended(
    answer: dict[str, Any], content: str, expected: dict[str, Any], userlm: Side, asked: Asked
) -> None:
    reply, faults = await judged(userlm, asked, Engine(answer))
    [shown] = reply["choices"]
    assert (shown["text"], shown["platolm"], faults) == (content, expected, {})
    assert shown["stop_reason"] == answer["stop_reason"]


async def test_the_end_of_the_context_is_not_a_limit_that_was_asked_for(userlm: Side, asked: Asked) -> None:
    cut = choice("I want", "length", None)
    engine = Engine(cut)
    reply, faults = await judged(userlm, asked, engine, fills_context=True)
    assert reply["choices"][0]["platolm"] == ending(True, "context_full")
    assert (len(engine.asked), faults) == (1, {})
    reply, _ = await judged(userlm, asked, Engine(choice(FINE)), fills_context=True)
    assert reply["choices"][0]["platolm"] == ending()


async def test_a_fault_is_made_again_with_another_seed_and_counted(userlm: Side, asked: Asked) -> None:
    engine = Engine(choice("I am a user too"), choice("mole"), choice(FINE))
    reply, faults = await judged(userlm, asked, engine, seed=5, max_tokens=7)
    assert reply["choices"][0]["text"] == FINE
    assert reply["choices"][0]["platolm"] == ending(first_token=1, too_short=1)
    assert faults == {(Fault.FIRST_TOKEN, Step.RETRY): 1, (Fault.TOO_SHORT, Step.RETRY): 1}
    assert reply["usage"] == {"prompt_tokens": 9, "completion_tokens": 6, "total_tokens": 15}
    seeds = [body["seed"] for body in engine.asked]
    assert len(set(seeds)) == 3
    assert seeds[0] == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert all(body["max_tokens"] == 7 and body["prompt"] == asked.ids for body in engine.asked)


async def test_tries_are_bounded_and_a_clumsy_utterance_is_taken(userlm: Side, asked: Asked) -> None:
    engine = Engine(*[choice("You know moles well")] * 3)
    reply, faults = await judged(userlm, asked, engine, retries=2)
    assert reply["choices"][0]["text"] == "You know moles well"
    assert reply["choices"][0]["platolm"] == ending(first_token=3)
    assert faults == {(Fault.FIRST_TOKEN, Step.RETRY): 2, (Fault.FIRST_TOKEN, Step.TAKE): 1}
    assert all("seed" not in body for body in engine.asked)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("As an AI language model, I cannot dig", "role_slip"),
        ("<thinking>what would a user say now", "reasoning_leak"),
    ],
)
async def test_what_gives_the_simulation_away_is_an_end(text: str, why: str, userlm: Side, asked: Asked) -> None:
    reply, _ = await judged(userlm, asked, Engine(*[choice(text)] * 2), retries=1)
    [shown] = reply["choices"]
    assert (shown["text"], shown["platolm"]) == ("", ending(True, why, **{why: 2}))


async def test_greedy_is_not_asked_again(userlm: Side, asked: Asked) -> None:
    engine = Engine(choice("mole"))
    reply, _ = await judged(userlm, asked, engine, temperature=0)
    assert (len(engine.asked), reply["choices"][0]["platolm"]) == (1, ending(too_short=1))


@pytest.mark.parametrize(("min_turns", "num_asked"), [(3, 1), (4, 2)])
async def test_an_end_before_the_requests_minimum_is_made_again(
    min_turns: int, num_asked: int, userlm: Side, llama3: HubTokenizer
) -> None:
    early = replace(userlm.read(TALK, NOTHING_TOLD), min_turns=min_turns)
    engine = Engine(choice(FINE, stop_reason=END_CONVERSATION), choice("do they see anything"))
    reply, faults = await judged(userlm, early, engine)
    assert len(engine.asked) == num_asked
    assert faults == ({(Fault.EARLY_END, Step.RETRY): 1} if num_asked == 2 else {})
    assert reply["choices"][0]["platolm"] == (ending(early_end=1) if num_asked == 2 else ending(True, "goodbye"))
    socratic = side_of(GatewaySettings(profile="socratic"), llama3)  # to which a blank is no goodbye
    engine = Engine(choice(" "), choice(FINE))
    reply, faults = await judged(
        socratic, replace(socratic.read(TALK, NOTHING_TOLD), min_turns=min_turns), engine, retries=1
    )
    assert (len(engine.asked), faults) == (num_asked, {})
    assert reply["choices"][0]["platolm"] == (ending() if num_asked == 2 else ending(True, "blank"))


def likeliest(*probabilities: float) -> dict[str, Any]:
    """The logprobs of as many tokens, in whose places a goodbye was so likely."""
    return {"top_logprobs": [{"<|endconversation|>": math.log(p), "mole": math.log(1 - p)} for p in probabilities]}


async def test_how_likely_a_goodbye_was(userlm: Side, asked: Asked, llama3: HubTokenizer) -> None:
    told = {**choice(FINE), "logprobs": likeliest(0.5, 0.2)}
    reply, _ = await judged(userlm, asked, Engine({**choice("mole"), "logprobs": likeliest(0.9)}, told))
    assert reply["choices"][0]["platolm"] == ending(too_short=1) | {"goodbye_probability": 0.6}
    osim = side_of(GatewaySettings(profile="osim"), llama3)  # which has no goodbye
    reply, _ = await judged(osim, asked, Engine(told))
    assert reply["choices"][0]["platolm"] == ending()
    stream = HeardStream(userlm, asked, fills_context=False, count=lambda *_: None)
    parts = ({**choice(FINE, None), "logprobs": likeliest(0.5)}, {**choice(""), "logprobs": likeliest(0.2)})
    _, [last] = shown_by(stream, *parts)
    assert last["platolm"] == ending() | {"goodbye_probability": 0.6}


async def test_each_of_several_choices_is_judged_alone(userlm: Side, asked: Asked) -> None:
    engine = Engine(choice(FINE), choice("mole"), choice("do they see anything"))
    reply, _ = await judged(userlm, asked, engine, n=2)
    assert [(c["index"], c["text"]) for c in reply["choices"]] == [(0, FINE), (1, "do they see anything")]
    assert [c["platolm"] for c in reply["choices"]] == [ending(), ending(too_short=1)]
    assert [body["n"] for body in engine.asked] == [2, 1]
    shown = chat_object(reply, model="m", speaker="user", profile="userlm", with_ids=False)["choices"]
    assert [c["platolm"] for c in shown] == [ending(), ending(too_short=1)]


async def test_a_respondent_is_left_as_it_is(llama3: HubTokenizer) -> None:
    side = side_of(GatewaySettings(profile="platolm"), llama3)
    asked = side.read([Message(USER, "Hi")], NOTHING_TOLD)
    text = " <think>a</think> As an AI, I<e> \n"
    reply, faults = await judged(side, asked, Engine(choice(text)))
    assert (reply["choices"][0]["text"], reply["choices"][0]["platolm"], faults) == (text, ending(), {})
    reply, _ = await judged(side, asked, Engine(choice("")))
    assert reply["choices"][0]["platolm"] == ending()


def shown_by(stream: HeardStream, *choices: dict[str, Any]) -> tuple[str, list[dict[str, Any]]]:
    """All of the text that a client sees, and the last choice objects."""
    chunks = ChatChunks("m", "user", "userlm", with_ids=False, include_usage=False)
    events = ({"id": "cmpl-1", "created": 1, "choices": [choice]} for choice in choices)
    seen = [chunk["choices"][0] for event in events for chunk in chunks.of(stream.of(event))]
    return "".join(c["delta"].get("content", "") for c in seen), [c for c in seen if c["finish_reason"]]


@pytest.mark.parametrize("cut", range(len(FINE), len(FINE + " <|endconversation|>") + 1))
def test_a_goodbye_that_is_split_is_never_shown(cut: int, userlm: Side, asked: Asked) -> None:
    text = FINE + " <|endconversation|> never shown"
    stream = HeardStream(userlm, asked, fills_context=False, count=lambda *_: None)
    seen, [last] = shown_by(
        stream, choice(text[:cut], None, None), choice(text[cut:], None, None), choice("", "length")
    )
    assert (seen, last["platolm"]) == (FINE, ending(True, "goodbye"))


def test_a_goodbye_that_the_engine_took_off_is_an_end(userlm: Side, asked: Asked) -> None:
    stream = HeardStream(userlm, asked, fills_context=False, count=lambda *_: None)
    seen, [last] = shown_by(
        stream, choice("\n" + FINE, None), choice(" <|end", None), choice("", "stop", END_CONVERSATION)
    )
    assert (seen, last["platolm"]) == (FINE + " <|end", ending(True, "goodbye"))


def test_a_streamed_fault_is_told_but_stays(userlm: Side, asked: Asked) -> None:
    faults: Faults = Counter()
    stream = HeardStream(userlm, asked, fills_context=False, count=lambda f, s: faults.update([(f, s)]))
    seen, [last] = shown_by(stream, choice("As an AI,", None), choice(" I cannot dig", "stop"))
    assert (seen, last["platolm"]) == ("As an AI, I cannot dig", ending(role_slip=1))
    assert faults == {(Fault.ROLE_SLIP, Step.TAKE): 1}


def test_choices_of_a_stream_do_not_mix(userlm: Side, asked: Asked) -> None:
    stream = HeardStream(userlm, asked, fills_context=True, count=lambda *_: None)
    seen, ends = shown_by(
        stream,
        choice("why do <|end", None, index=0),
        choice("\nthey see ", None, index=1),
        choice("conversation|>", "length", None, index=0),
        choice("nothing", "length", None, index=1),
    )
    assert seen == "why dothey see nothing"
    assert [(end["index"], end["platolm"]["why"]) for end in ends] == [(0, "goodbye"), (1, "context_full")]
