"""Sides of a spec that ask chat APIs, and what they may cost."""

from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import ValidationError

from platolm.conversation import ASSISTANT, USER, Message
from platolm.respondents import RESPONDENTS
from platolm.simulators.told import Told
from platolm.spec import RunSpec, SideSpec
from services.orchestrator.queue.queue import pool_key

CHAT = {"profile": "chat", "apis": {"openai": 3, "laptop.gpt-4_1": 0.5}}


def asked(**fields: Any) -> RunSpec:
    return RunSpec.model_validate_json(json.dumps({"conversations": 2, "respondent": CHAT, **fields}), strict=True)


def test_names_and_weights_as_json() -> None:
    spec = asked(limits={"budget": 5})
    assert spec.respondent.apis == {"openai": 3.0, "laptop.gpt-4_1": 0.5}
    assert spec.limits.budget == 5.0
    assert RunSpec.model_validate_json(spec.model_dump_json(), strict=True) == spec


def test_specs_from_before_are_read() -> None:
    """Those have neither field."""
    old = RunSpec(conversations=2).model_dump(mode="json")
    for side in ("simulator", "respondent"):
        del old[side]["apis"]
    del old["limits"]["budget"]
    assert RunSpec.model_validate_json(json.dumps(old)) == RunSpec(conversations=2)


@pytest.mark.parametrize(
    ("side", "said"),
    [
        ({"apis": {"a b": 1}}, "String should match pattern"),
        ({"apis": {"a": 0}}, "greater than 0"),
        ({"apis": {"a": -1}}, "greater than 0"),
        ({"apis": {"a": "1"}}, "valid number"),
        ({"apis": ["a"]}, "should be an object"),
        ({"apis": {f"a{i}": 1 for i in range(101)}}, "at most 100"),
        ({"apis": {"a": 1}, "model": "m"}, "an API's address and model are the operator's"),
        ({"apis": {"a": 1}, "endpoints": ["http://e/v1"]}, "give apis, or endpoints and model"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(side: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        asked(respondent={"profile": "chat", **side})


@pytest.mark.parametrize("budget", [0, -1, 1e7])
def test_a_budget_is_an_amount(budget: float) -> None:
    with pytest.raises(ValidationError, match=r"limits\.budget"):
        asked(limits={"budget": budget})


def test_a_budget_without_apis_would_limit_nothing() -> None:
    with pytest.raises(ValidationError, match=r"limits\.budget is for chat APIs, and no side has apis"):
        RunSpec.model_validate({"conversations": 1, "limits": {"budget": 1}})


def test_the_queue_knows_apis_by_one_name_whatever_their_weights() -> None:
    sides = [SideSpec(profile="chat", apis=apis) for apis in ({"b": 1.0, "a": 2.0}, {"a": 1.0, "b": 9.0}, {"a": 1.0})]
    assert [pool_key(side) for side in sides] == ["apis:a,b", "apis:a,b", "apis:a"]
    assert pool_key(SideSpec(profile="chat", endpoints=["http://a/v1"])) == "http://a/v1"
    assert pool_key(SideSpec(profile="chat")) == ""


@pytest.mark.parametrize("name", RESPONDENTS)
def test_a_respondents_messages_are_in_their_own_roles_whatever_its_format(name: str) -> None:
    turns = [Message(USER, "Q?"), Message(ASSISTANT, "<think>So.</think>A."), Message(USER, "Why?")]
    said = [{"role": turn.role, "content": turn.content} for turn in turns]
    profile = RESPONDENTS[name]
    assert profile.messages(turns, Told()) == said
    told = Told(system_prompt="Be kind.", intent="for simulators alone")
    assert profile.messages(turns, told) == [{"role": "system", "content": "Be kind."}, *said]
