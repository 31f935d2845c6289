"""Every profile over a real engine: a stand-in model with Llama 3's special tokens, a gateway for each profile."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.simulators import PROFILES, Told
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.integration.gateway.chain_model import CONTEXT, END_MARK, GOODBYE_AFTER_THANKS
from tests.integration.gateway.conftest import Service
from tests.unit.simulators.tokenizers import END_CONVERSATION

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

INTENT = "You want to know how a bicycle stays upright."
MESSAGES = [
    {"role": "system", "content": INTENT},
    {"role": "user", "content": "why dont bikes <|eot_id|> fall over"},
    {"role": "assistant", "content": "<think>Gyroscopes?</think>They are steered into the fall."},
]
SPOKEN = [Message(USER, "why dont bikes <|eot_id|> fall over"), Message(ASSISTANT, "They are steered into the fall.")]


@pytest.fixture(scope="module")
def tokenizer(stand_in: Path) -> HubTokenizer:
    return load_tokenizer(stand_in)


def ending(why: str, **faults: int) -> dict[str, Any]:
    return {"ended": True, "why": why, "faults": faults, "goodbye_probability": None}


def asked(service: Service, **fields: Any) -> dict[str, Any]:
    """The one choice of a chat reply, with the reply's prompt."""
    body = {"messages": MESSAGES, "max_tokens": 12, "return_token_ids": True} | fields
    response = service.post("/v1/chat/completions", body)
    assert response.status_code == 200, response.text
    reply: dict[str, Any] = response.json()
    return {**reply["choices"][0], "prompt": reply["prompt_token_ids"], "usage": reply["usage"]}


def streamed(service: Service, **fields: Any) -> tuple[list[str], dict[str, Any]]:
    """The texts of a streamed choice, and its last chunk."""
    body = {"messages": MESSAGES, "max_tokens": 12, "stream": True} | fields
    texts, last = [], {}
    url = service.url + "/v1/chat/completions"
    with httpx.stream("POST", url, json=body, timeout=60, trust_env=False, verify=False) as response:
        for line in response.iter_lines():
            if line.startswith("data: {"):
                [last] = json.loads(line.removeprefix("data: "))["choices"]
                texts.append(last["delta"].get("content", ""))
    return texts, last


@pytest.mark.parametrize("name", ["userlm", "usp", "osim", "roleplay", "socratic"])
def test_a_profile_prompts_as_it_says_and_speaks_as_the_user(
    name: str, simulators: dict[str, Service], tokenizer: HubTokenizer
) -> None:
    choice = asked(simulators[name])
    assert choice["prompt"] == PROFILES[name].prompts(tokenizer).ids(SPOKEN, Told(system_prompt=INTENT))
    assert choice["message"]["speaker"] == "user"
    assert choice["message"]["profile"] == name
    assert set(choice["platolm"]) == {"ended", "why", "faults", "goodbye_probability"}
    [card] = simulators[name].get("/v1/models").json()["data"]
    assert (card["profile"], card["max_model_len"]) == (name, CONTEXT)


def test_a_goodbye_of_one_id_is_an_end_and_not_shown(simulators: dict[str, Service]) -> None:
    only_goodbye = {"logit_bias": {str(END_CONVERSATION): 100}}
    choice = asked(simulators["userlm"], **only_goodbye)
    assert choice["platolm"] == ending("goodbye")
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert (choice["token_ids"], choice["stop_reason"]) == ([END_CONVERSATION], END_CONVERSATION)
    texts, last = streamed(simulators["userlm"], **only_goodbye)
    assert ("".join(texts), last["finish_reason"], last["platolm"]["why"]) == ("", "stop", "goodbye")


def test_an_early_goodbye_is_made_again_within_bounds(simulators: dict[str, Service]) -> None:
    only_goodbye = {"logit_bias": {str(END_CONVERSATION): 100}, "temperature": 1}
    choice = asked(simulators["userlm"], messages=MESSAGES[:1], **only_goodbye)
    assert choice["platolm"] == ending("goodbye", early_end=4)
    assert choice["usage"]["completion_tokens"] == 4
    metrics = simulators["userlm"].get("/metrics").text
    assert 'platolm_gateway_faults_total{fault="early_end",step="retry"} 3.0' in metrics
    assert 'platolm_gateway_faults_total{fault="early_end",step="take"} 1.0' in metrics


@pytest.mark.parametrize("min_turns", [3, 4])
def test_an_end_before_the_requests_minimum_is_made_again(min_turns: int, simulators: dict[str, Service]) -> None:
    only_goodbye = {"logit_bias": {str(END_CONVERSATION): 100}, "temperature": 1}
    choice = asked(simulators["userlm"], platolm={"min_turns": min_turns}, **only_goodbye)
    assert choice["platolm"] == ending("goodbye", **({"early_end": 4} if min_turns == 4 else {}))


def test_how_likely_a_goodbye_was(simulators: dict[str, Service]) -> None:
    fields: dict[str, Any] = {"platolm": {"goodbye_probability": True}, "max_tokens": 64}
    told, reasons = [], set()
    for seed in range(12):
        choice = asked(simulators["userlm"], seed=seed, **fields)
        told.append(choice["platolm"]["goodbye_probability"])
        reasons.add(choice["platolm"]["why"])
        num_chances = choice["message"]["content"].split().count("thanks")
        assert told[-1] == pytest.approx(1 - (1 - GOODBYE_AFTER_THANKS) ** num_chances, abs=2e-6)
        if not choice["platolm"]["faults"]:
            texts, last = streamed(simulators["userlm"], seed=seed, **fields)
            assert ("".join(texts), last["platolm"]) == (choice["message"]["content"], choice["platolm"])
    assert {None, "goodbye"} <= reasons
    assert 0 < max(told) < 1
    assert asked(simulators["roleplay"], **fields)["platolm"]["goodbye_probability"] is None


def test_a_goodbye_of_several_tokens_is_not_shown(simulators: dict[str, Service], tokenizer: HubTokenizer) -> None:
    assert len(tokenizer.encode(END_MARK)) > 1
    num_goodbyes = 0
    for seed in range(40):
        texts, last = streamed(simulators["roleplay"], seed=seed, max_tokens=64)
        assert END_MARK[:1] not in "".join(texts).replace("<|endconversation|>", "")
        if last["stop_reason"] != END_MARK:
            assert last["platolm"]["why"] is None
            continue
        num_goodbyes += 1
        assert last["platolm"]["why"] == "goodbye"
        whole = asked(simulators["roleplay"], seed=seed, max_tokens=64)
        assert whole["message"]["content"] == "".join(texts)
        assert tokenizer.decode(whole["token_ids"]).endswith(END_MARK)
    assert num_goodbyes >= 2


def test_what_the_context_cuts_off_is_an_end(simulators: dict[str, Service]) -> None:
    service = simulators["usp"]
    cut = asked(service, max_tokens=CONTEXT, ignore_eos=True)
    assert cut["usage"]["total_tokens"] == CONTEXT
    assert (cut["finish_reason"], cut["platolm"]["why"]) == ("length", "context_full")
    asked_for = asked(service, max_tokens=5, ignore_eos=True)
    assert (asked_for["finish_reason"], asked_for["platolm"]["ended"]) == ("length", False)
    full = service.post("/v1/chat/completions", {"messages": [{"role": "assistant", "content": "so " * CONTEXT}]})
    assert (full.status_code, full.json()["error"]["code"]) == (400, "nothing_told")
    told = {"messages": [MESSAGES[0], {"role": "assistant", "content": "so " * CONTEXT}]}
    full = service.post("/v1/chat/completions", told)
    assert (full.status_code, full.json()["error"]["code"]) == (400, "context_length_exceeded")


def sessions_of_the_original(post: Callable[[dict[str, Any]], str], answer: str) -> Iterator[list[dict[str, str]]]:
    """As the original's client talks: it reads answers with `eval`, and ends where `null` has no name."""
    while True:
        data: dict[str, Any] = {"history": None, "temperature": 0.7, "max_new_tokens": 32}
        said: list[dict[str, str]] = []
        text = post(data)
        while True:
            try:
                history = eval(text).get("history")
            except NameError:
                break
            said += [{"from": "human", "value": history[-1][-1]}, {"from": "gpt", "value": answer}]
            history.append(["Assistant", answer])
            data["history"] = history
            text = post(data)
        assert text == '{"hisotry":null}'
        yield said


def test_the_originals_client_runs_to_the_end_of_the_context(simulators: dict[str, Service]) -> None:
    def post(data: dict[str, Any]) -> str:
        response = simulators["socratic"].post("/generate", data)
        assert response.status_code == 200, response.text
        return response.text

    answer = "It depends on what you mean – “soup” or 🍲? " * 3
    sessions = sessions_of_the_original(post, answer)
    longest = max((next(sessions) for _ in range(3)), key=len)
    assert len(longest) >= 4
    assert [turn["from"] for turn in longest] == ["human", "gpt"] * (len(longest) // 2)
    assert all(turn["value"] == turn["value"].strip() != "" for turn in longest[::2])
