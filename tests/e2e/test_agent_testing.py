"""The documented way to test an assistant, with the demo pair: its simulator, and its respondent as the assistant."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import openai
import pytest

from tests.agent_test_page import documented
from tests.local_stack import RunningStack

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

TOLD = "You want to know how to keep a basil plant alive."
WAYS_TO_END = {"goodbye", "blank", "context_full", "max_turns"}


@pytest.fixture
def simulator(stack: RunningStack) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=stack.url("simulator_port") + "/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture
def answer(stack: RunningStack) -> Iterator[Callable[[list[Any]], str]]:
    """The assistant that is tested: a function of the messages so far."""
    with openai.OpenAI(base_url=stack.url("respondent_port") + "/v1", api_key="none", max_retries=0) as client:

        def answered(messages: list[Any]) -> str:
            reply = client.chat.completions.create(model="platolm", messages=messages, max_tokens=48)
            return reply.choices[0].message.content or ""

        yield answered


def test_the_documented_loop(
    simulator: openai.OpenAI, answer: Callable[[list[Any]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    messages, why = documented(monkeypatch)["talk"](simulator, TOLD, answer, max_turns=8)
    assert why in WAYS_TO_END
    assert len(messages) == 8 or why != "max_turns"
    assert [message["role"] for message in messages] == (["user", "assistant"] * 4)[: len(messages)]
    assert all(message["content"].strip() for message in messages if message["role"] == "user")


def test_the_documented_hook_of_a_framework(
    simulator: openai.OpenAI, answer: Callable[[list[Any]], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[dict[str, Any]] = []

    def app(message: dict[str, Any], *, thread_id: str) -> dict[str, Any]:
        assert thread_id == "basil"
        said.append({"role": message["role"], "content": message["content"]})
        said.append({"role": "assistant", "content": answer(said)})
        return said[-1]

    result = documented(monkeypatch)["simulate"](simulator, TOLD, app, max_turns=3, thread_id="basil")
    assert [message["content"] for message in result["trajectory"]] == [message["content"] for message in said]
    assert [message["role"] for message in result["trajectory"]] == ["user", "assistant"] * (len(said) // 2)
    assert 2 <= len(said) <= 6
